"""The federations under attack: a partition's users dealt to clients, and the items that liars lift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.errors import InvalidInput
from models.evaluation.protocols import HeldOut
from models.kernel.histories import Histories
from models.kernel.seeds import generator_for
from tasks.bench.quality.cases import BenchClient, Learner, by_user, pooled


def dealt(clients: Sequence[BenchClient], count: int, seed: int) -> dict[str, Learner]:
    """Return the users of all clients, dealt at random to `count` new clients of about equal size.

    Raises:
        InvalidInput: there are fewer users than clients.
    """
    users = by_user(clients)
    if not 1 <= count <= len(users):
        raise InvalidInput(
            f"{len(users)} users cannot be dealt to {count} clients.",
            next_step=f"Choose between 1 and {len(users)} clients.",
        )
    names = sorted(users)
    order = generator_for(seed, "dealt clients").permutation(len(names))
    return {
        f"client-{place:04d}": pooled({names[user]: users[names[user]] for user in own})
        for place, own in enumerate(np.array_split(order, count))
    }


def user_counts(learners: Mapping[str, Learner]) -> np.ndarray:
    """Return (items,): the number of users of all clients who used each item in training."""
    n_items = next(iter(learners.values())).histories.n_items
    counts = [np.bincount(each.histories.items, minlength=n_items) for each in learners.values()]
    return np.asarray(np.sum(counts, axis=0))


def unpopular_item(counts: np.ndarray, most: int, seed: int) -> int:
    """Return an item that liars lift: drawn by the seed among those that 1 to `most` users used.

    Raises:
        InvalidInput: there is no such item.
    """
    rare = np.flatnonzero((counts > 0) & (counts <= most))
    if not len(rare):
        raise InvalidInput(
            f"No item was used by 1 to {most} users, so there is no unpopular one to lift.",
            next_step="Measure on a partition with rare items, such as MovieLens-100K.",
        )
    return int(generator_for(seed, "target item").choice(rare))


def most_used(clients: Sequence[BenchClient], count: int) -> tuple[BenchClient, ...]:
    """Return the clients with the `count` most used items only; in a tie the lower row stays.

    Updates of additive families grow with the square of the items, and a robust mean needs all of them at
    once. Held-out cases of other items are left out.
    """
    n_items = clients[0].histories.n_items
    counts = np.sum([np.bincount(each.histories.items, minlength=n_items) for each in clients], axis=0)
    kept = np.sort(np.argsort(-counts, kind="stable")[:count])
    rows = np.full(n_items, -1)
    rows[kept] = np.arange(len(kept))
    return tuple(_renumbered(client, rows, len(kept)) for client in clients)


def _renumbered(client: BenchClient, rows: np.ndarray, n_items: int) -> BenchClient:
    own, held = client.histories, client.held_out
    new = rows[own.items]
    owners = np.repeat(np.arange(len(own)), np.diff(own.starts))[new >= 0]
    starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(own)))])
    cases = rows[held.items] >= 0
    # A sampled item that is gone becomes padding, as one that could not be drawn.
    negatives = np.where(held.negatives[cases] >= 0, rows[held.negatives[cases]], -1)
    few = HeldOut(
        Histories(new[new >= 0], starts, n_items), held.users[cases], rows[held.items[cases]], negatives
    )
    return BenchClient(client.id, client.user_ids, few)
