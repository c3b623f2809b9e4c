"""A partition's clients under the cold-start protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from models.errors import InvalidInput
from models.evaluation.cold_start import (
    KNOWN_ITEMS,
    Mask,
    fifths,
    hold_out_after,
    hold_out_items,
    latest,
    of_users,
    without_items,
)
from models.evaluation.split import user_order
from models.kernel.histories import Histories
from models.recommenders.base.data import Part
from tasks.bench.quality.cases import BenchClient, Learner
from tasks.clients.client_rows import client_rows
from tasks.datasets.partition_reader import Partition


@dataclass(frozen=True)
class NewItems:
    """Clients whose users are tested on items that no training contains.

    Attributes:
        clients: the users' training histories, and the cold items that they used as held-out cases.
        cold: (items,), whether each item is cold.
        trained: (items,), whether any training history contains each item.
    """

    clients: tuple[BenchClient, ...]
    cold: Mask
    trained: Mask


@dataclass(frozen=True)
class NewUsers:
    """Users who are in no training.

    Attributes:
        clients: these users, with their first items as histories and the later ones as held-out cases.
        others: all other users with all their interactions.
        joined: the same, and these users with their first items.
    """

    clients: tuple[BenchClient, ...]
    others: Mapping[str, Learner]
    joined: Mapping[str, Learner]


def full_histories(partition: Partition, seed: int) -> dict[str, Learner]:
    """Return each client's users with all their interactions, oldest first, or at random without timestamps.

    Raises:
        InvalidInput: a user has an item twice.
    """
    found = {}
    for client in sorted(partition.clients, key=lambda each: each.id):
        user_ids, users, items, times, _ = client_rows(partition, client.id)
        order = user_order(users, items, times, len(user_ids), seed)
        starts = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(user_ids)))])
        histories = Histories(items[order].astype(np.int64), starts.astype(np.int64), len(partition.catalog))
        found[client.id] = Learner(user_ids, histories)
    return found


def new_items(partition: Partition, part: Part, seed: int) -> NewItems:
    """Return the clients with one fifth of the items cold.

    Args:
        partition: the data.
        part: "test", or "validation" for choices. Then another fifth is cold, and that of the test is left
            out.
        seed: of the fifths.
    """
    fifth = fifths(len(partition.catalog), seed, "items")
    cold, left_out = fifth == (0 if part == "test" else 1), (fifth == 0) & (part != "test")
    clients = []
    for name, learner in full_histories(partition, seed).items():
        held = hold_out_items(without_items(learner.histories, left_out), cold)
        clients.append(BenchClient(name, learner.user_ids, held))
    trained = np.zeros(len(cold), dtype=bool)
    trained[np.concatenate([client.histories.items for client in clients])] = True
    return NewItems(tuple(clients), cold, trained)


def new_users(partition: Partition, part: Part, seed: int) -> NewUsers:
    """Return the clients with one fifth of the users new.

    Args:
        partition: the data.
        part: "test", or "validation" for choices. Then another fifth is new, and that of the test is left
            out.
        seed: of the fifths, which each client draws for its own users.

    Raises:
        InvalidInput: no new user has more than `KNOWN_ITEMS` items.
    """
    clients, others, joined = [], {}, {}
    for name, learner in full_histories(partition, seed).items():
        fifth = fifths(len(learner.user_ids), seed, "users", name)
        new = fifth == (0 if part == "test" else 1)
        old = ~new if part == "test" else ~new & (fifth != 0)
        if old.any():
            joined[name] = others[name] = _selected(learner, old)
        longer = new & (np.diff(learner.histories.starts) > KNOWN_ITEMS)
        if longer.any():
            arrived = _selected(learner, longer)
            held = hold_out_after(arrived.histories, KNOWN_ITEMS)
            clients.append(BenchClient(name, arrived.user_ids, held))
            joined[name] = _together(joined.get(name), Learner(arrived.user_ids, held.histories))
    if not clients:
        raise InvalidInput(
            f"No new user has more than {KNOWN_ITEMS} items, so there are no cases to test.",
            next_step="Leave out the protocol new_users.",
        )
    return NewUsers(tuple(clients), others, joined)


def with_latest(client: BenchClient, n: int) -> BenchClient:
    """Return the client with only the latest n items of each user's history."""
    return replace(client, held_out=replace(client.held_out, histories=latest(client.histories, n)))


def _selected(learner: Learner, chosen: Mask) -> Learner:
    ids = tuple(each for each, is_in in zip(learner.user_ids, chosen, strict=True) if is_in)
    return Learner(ids, of_users(learner.histories, chosen))


def _together(some: Learner | None, more: Learner) -> Learner:
    if some is None:
        return more
    return Learner(some.user_ids + more.user_ids, Histories.pooled([some.histories, more.histories]))
