"""Lies of clients that send the blend's statistics, and the check of sums that stops the largest one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.federation.model import GlobalModel
from models.recommenders.additive.blend import BlendFamily, BlendStatistics
from models.recommenders.base.family import LocalRound
from tasks.bench.attacks.lies import Lie


@dataclass(frozen=True)
class FollowsAll(Lie):
    """The claim that the target follows every other item. No real histories have these statistics.

    They say nothing else, so nothing explains the target's share away.

    Attributes:
        family: the family, with the settings of all clients.
        target: the item to lift.
        times: how often it follows each other item.
    """

    family: BlendFamily
    target: int
    times: float

    def update(self, base: GlobalModel, at: LocalRound) -> BlendStatistics:
        nothing = self.family.nothing(len(base.items))
        transitions = np.zeros_like(nothing.transitions)
        transitions[:, self.target] = self.times
        transitions[self.target, self.target] = 0.0
        return BlendStatistics(nothing.gram, nothing.memory_gram, transitions)


def checked_columns(vectors: np.ndarray, users: int, forgetting: float) -> np.ndarray:
    """Return the sum of the vectors, after each client's transitions are held to what its users can cause.

    A user adds at most sum_k k^-forgetting to the transitions into one item, over the k-th last items before
    it. So `users` users add at most that many times as much. A larger column is scaled down. No honest column
    is larger. It needs each client's own vector, or a proof of the same.

    Args:
        vectors: (clients, 2 n^2 + n), statistics of the blend for n items.
        users: largest number of users of a client.
        forgetting: of the next-item model.
    """
    # The two triangles have n (n + 1) / 2 values each, the transitions n^2.
    n = round((np.sqrt(1.0 + 8.0 * vectors.shape[1]) - 1.0) / 4.0)
    most = users * float((np.arange(1, n) ** -forgetting).sum())
    total = vectors[:, : -n * n].sum(axis=0, dtype=np.float64)
    transitions = np.zeros((n, n))
    for own in vectors[:, -n * n :].reshape(-1, n, n):
        columns = own.sum(axis=0, dtype=np.float64)
        transitions += own * np.minimum(1.0, most / np.maximum(columns, most))
    return np.concatenate([total, transitions.ravel()])
