"""A partition's clients under a protocol: each user's training interactions and held-out cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from models.errors import InvalidInput
from models.evaluation.protocols import (
    HELD_OUT_SHARE,
    LEAVE_ONE_OUT,
    TEMPORAL,
    HeldOut,
    Protocol,
    hold_out_share,
)
from models.evaluation.split import sample_negatives, split_leave_one_out, user_numbers
from models.kernel.histories import Histories
from models.recommenders.base.data import Part
from models.recommenders.base.ratings import RatedData
from models.recommenders.base.training_set import TrainingSet
from tasks.clients.client_rows import client_rows
from tasks.datasets.partition_reader import Partition


@dataclass(frozen=True)
class BenchClient:
    """One client under one protocol.

    Attributes:
        id: the client's name.
        user_ids: of its users, in the order of their rows.
        held_out: the training histories and held-out cases of its users.
    """

    id: str
    user_ids: tuple[str, ...]
    held_out: HeldOut

    @property
    def histories(self) -> Histories:
        """The training histories of its users."""
        return self.held_out.histories

    def of_users(self, chosen: np.ndarray) -> BenchClient:
        """Return the client with only the users of a mask (users,)."""
        if chosen.all():
            return self
        held, rows = self.held_out, np.cumsum(chosen) - 1
        mine = chosen[held.users]
        few = HeldOut(
            self.histories.of_users(chosen), rows[held.users[mine]], held.items[mine], held.negatives[mine]
        )
        names = tuple(name for name, kept in zip(self.user_ids, chosen, strict=True) if kept)
        return BenchClient(self.id, names, few)


@dataclass(frozen=True)
class Learner:
    """The data of one training: a client of a federation, or all clients pooled.

    Attributes:
        user_ids: in the order of the histories.
        histories: the training interactions.
    """

    user_ids: tuple[str, ...]
    histories: Histories

    @property
    def training(self) -> TrainingSet:
        """The training interactions, laid out for LightFM."""
        owners = np.repeat(np.arange(len(self.histories)), np.diff(self.histories.starts))
        shape = (len(self.histories), self.histories.n_items)
        return TrainingSet(owners.astype(np.int32), self.histories.items.astype(np.int32), shape)

    @property
    def rated(self) -> RatedData:
        """The training ratings.

        Raises:
            InvalidInput: always, as the table is of rankings.
        """
        raise InvalidInput("The quality table is of families that rank, and its cases have no ratings.")


def clients_of(
    partition: Partition,
    protocol: Protocol,
    part: Part,
    *,
    seed: int = 0,
    negatives: int = 99,
    by_id: bool = False,
) -> tuple[BenchClient, ...]:
    """Return the clients with the cases of one part held out.

    "validation" is for choices. With leave-one-out it is each user's second latest interaction. If the
    protocol holds out a share, it is the same share of the rest after the test part is removed.

    Args:
        partition: the data.
        protocol: decides what is held out.
        part: "validation" or "test".
        seed: of sampled items and random hold-outs.
        negatives: sampled items of a case; leave-one-out only.
        by_id: whether a user's cases depend on no other user, as in jobs with privacy; leave-one-out only.

    Raises:
        InvalidInput: a user has an item twice, or the data lack timestamps that the protocol needs.
    """
    return tuple(
        _client(partition, each.id, protocol, part, seed, negatives, by_id)
        for each in sorted(partition.clients, key=lambda client: client.id)
    )


def by_client(clients: Iterable[BenchClient]) -> dict[str, Learner]:
    """Return one learner per client."""
    return {client.id: Learner(client.user_ids, client.histories) for client in clients}


def by_user(clients: Iterable[BenchClient]) -> dict[str, Learner]:
    """Return one learner per user, so that each user is a client of the federation."""
    return {
        user_id: Learner((user_id,), Histories(items, np.array([0, len(items)]), client.histories.n_items))
        for client in clients
        for user_id, items in zip(client.user_ids, client.histories, strict=True)
        if len(items)
    }


def pooled(learners: Mapping[str, Learner]) -> Learner:
    """Return one learner with all users."""
    parts = [learners[name] for name in sorted(learners)]
    users = tuple(user_id for part in parts for user_id in part.user_ids)
    return Learner(users, Histories.pooled([part.histories for part in parts]))


def _client(
    partition: Partition,
    client_id: str,
    protocol: Protocol,
    part: Part,
    seed: int,
    negatives: int,
    by_id: bool,
) -> BenchClient:
    user_ids, users, items, times, _ = client_rows(partition, client_id)
    shape = (len(user_ids), len(partition.catalog))
    if protocol != LEAVE_ONE_OUT:
        held = _share(users, items, times, shape, protocol, part, seed)
        return BenchClient(client_id, user_ids, held)
    numbers = user_numbers(user_ids, seed) if by_id else None
    split = split_leave_one_out(users, items, times, shape[0], seed, numbers)
    histories = Histories.of(split.train_users, split.train_items, split.train_places, shape)
    case_users = split.validation_users if part == "validation" else split.test_users
    case_items = split.validation_items if part == "validation" else split.test_items
    drawn = sample_negatives(
        case_users,
        users,
        items,
        shape[1],
        n=negatives,
        seed=seed,
        client_id=client_id,
        split_name=part,
        numbers=numbers,
    )
    return BenchClient(client_id, user_ids, HeldOut(histories, case_users, case_items, drawn))


def _share(
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray | None,
    shape: tuple[int, int],
    protocol: Protocol,
    part: Part,
    seed: int,
) -> HeldOut:
    by_time = protocol == TEMPORAL
    held = hold_out_share(users, items, times, shape, share=HELD_OUT_SHARE, by_time=by_time, seed=seed)
    if part == "test":
        return held
    left = held.histories
    owners = np.repeat(np.arange(shape[0]), np.diff(left.starts))
    places = np.arange(len(owners)) - left.starts[owners]
    return hold_out_share(
        owners, left.items, places, shape, share=HELD_OUT_SHARE, by_time=by_time, seed=seed + 1
    )
