"""What liars send, whatever the family: updates of made-up users."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.federation.model import GlobalModel
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories
from models.kernel.packed import PackedArrays
from models.kernel.seeds import generator_for
from models.recommenders.base.family import Family, LocalRound
from tasks.bench.quality.cases import Learner


class Lie(ABC):
    """A way to lift a target item. All liars of a round use the same one, each with randomness of its own."""

    @abstractmethod
    def update(self, base: GlobalModel, at: LocalRound) -> ArrayGroup | PackedArrays[Any]:
        """Return what the liar `at.client_id` contributes in place of its training (float32)."""


@dataclass(frozen=True)
class MadeUpUsers(Lie):
    """Honest training on users who do not exist: each used popular items, and the target last.

    No check of an update can tell it from a client with such users.

    Attributes:
        family: the family, with the settings of all clients.
        target: the item to lift.
        popular: (n,) items that real users used, the most used first.
        users: number of made-up users.
        length: number of popular items in a history.
        pool: the items of a history are drawn from this many of the most popular ones.
    """

    family: Family
    target: int
    popular: np.ndarray
    users: int
    length: int
    pool: int

    def update(self, base: GlobalModel, at: LocalRound) -> ArrayGroup | PackedArrays[Any]:
        learner = self.learner(len(base.items), at)
        users = None
        if self.family.keeps_users:
            users = self.family.initial_users(self.users, seed=at.seed, client_id=at.client_id)
        return self.family.train(base.items, users, learner, at)[0]

    def learner(self, n_items: int, at: LocalRound) -> Learner:
        """Return the made-up data, the same in every round."""
        random = generator_for(at.seed, "made-up users", at.client_id)
        known = self.popular[self.popular != self.target][: self.pool]
        histories = [
            np.append(random.choice(known, min(self.length, len(known)), replace=False), self.target)
            for _ in range(self.users)
        ]
        starts = np.concatenate([[0], np.cumsum([len(each) for each in histories])])
        names = tuple(f"{at.client_id}/{row}" for row in range(self.users))
        return Learner(names, Histories(np.concatenate(histories).astype(np.int64), starts, n_items))
