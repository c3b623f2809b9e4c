"""Lies of clients that train LightFM. They send the arrays of `adagrad_sum` without any training.

The published attacks send gradients. So does a client of `adagrad_sum`, whose contribution is a sum of scaled
gradients. Here the row of the target, which is its embedding and bias, is as long as the public ranges allow.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.evaluation.user_sums import TOP
from models.federation.model import GlobalModel, ItemArrays, require
from models.kernel.ranges import Range
from models.kernel.seeds import generator_for
from models.recommenders.base.family import LocalRound
from models.recommenders.scoring.fold_in import ItemSide, fold_in
from tasks.bench.attacks.lies import Lie

# Keeps a lie without any step from dividing by zero.
_TINY = 1e-12


@dataclass(frozen=True)
class GradientLie(Lie):
    """A step against an attack's loss, as long as the public ranges allow.

    Attributes:
        target: the item to lift.
        ranges: array name -> the range of its values in a contribution.
    """

    target: int
    ranges: Mapping[str, Range]

    def update(self, base: GlobalModel, at: LocalRound) -> ItemArrays:
        steps = self.steps(require(base.items, ItemArrays), at)
        limits = np.full(steps.shape[1], _largest(self.ranges["embeddings"]))
        limits[-1] = _largest(self.ranges["biases"])
        # Of each row, the share of its limits that it uses; the target's row uses all.
        used = (np.abs(steps) / limits).max(axis=1, keepdims=True)
        return _sent(base, steps / np.maximum(used, max(used[self.target, 0], _TINY)))

    @abstractmethod
    def steps(self, items: ItemArrays, at: LocalRound) -> np.ndarray:
        """Return (items, dims + 1) float64: the descent step of each item's embedding and bias."""


@dataclass(frozen=True)
class FedRecAttack(GradientLie):
    """FedRecAttack (Rong et al. 2022, ICDE), for a model with item biases.

    The liars know a few public interactions of real users. They fold each of these users in, and descend

        sum over users of g( lowest score of the user's list - score of the target )

    with g(x) = x for x >= 0 and exp(x) - 1 below. So it lifts the target and lowers the last items of lists.

    Attributes:
        known: the public items of each real user; users without any are missing.
        users: number of these users that a liar draws in a round.
        most_rows: number of items in a lie, the target among them.
    """

    known: Sequence[np.ndarray]
    users: int = 100
    most_rows: int = 60

    def steps(self, items: ItemArrays, at: LocalRound) -> np.ndarray:
        side = ItemSide.of(items.embeddings, items.biases)
        random = generator_for(at.seed, "known users", at.client_id, at.round)
        drawn = random.choice(len(self.known), min(self.users, len(self.known)), replace=False)
        known = [self.known[row] for row in drawn]
        users = np.stack([fold_in(own.tolist(), side).vector for own in known])
        scores = users @ items.embeddings.T + items.biases
        target = scores[:, self.target].copy()
        scores[:, self.target] = -np.inf
        for row, own in zip(scores, known, strict=True):
            row[own] = -np.inf
        last = np.argpartition(-scores, TOP - 1, axis=1)[:, TOP - 1]
        behind = scores[np.arange(len(users)), last] - target
        slopes = np.exp(np.minimum(behind, 0.0))
        slopes[[self.target in own for own in known]] = 0.0
        pulls = slopes[:, np.newaxis] * np.column_stack([users, np.ones(len(users))])
        steps = np.zeros((len(items), pulls.shape[1]))
        np.subtract.at(steps, last, pulls)
        steps[self.target] += pulls.sum(axis=0)
        kept = np.argsort(-np.linalg.norm(steps, axis=1), kind="stable")[: self.most_rows]
        few = np.zeros_like(steps)
        few[kept] = steps[kept]
        few[self.target] = steps[self.target]
        return few


@dataclass(frozen=True)
class AHum(GradientLie):
    """A-hum (Rong et al. 2022, IJCAI): it knows no real user, and makes users up who dislike the target.

    Random users descend the loss of not using the target, which makes them hard to win. Then the target
    descends the loss of being used by all of them.

    Attributes:
        users: number of random users.
        mining_steps: steps of the users.
        mining_rate: length of these steps.
    """

    users: int = 64
    mining_steps: int = 20
    mining_rate: float = 0.5

    def steps(self, items: ItemArrays, at: LocalRound) -> np.ndarray:
        random = generator_for(at.seed, "hard users", at.client_id, at.round)
        row = items.embeddings[self.target].astype(np.float64)
        bias = float(items.biases[self.target])
        users = random.normal(0.0, 1.0, (self.users, len(row))) / np.sqrt(len(row))
        for _ in range(self.mining_steps):
            users -= self.mining_rate * _sigmoid(users @ row + bias)[:, np.newaxis] * row
        pulls = (1.0 - _sigmoid(users @ row + bias))[:, np.newaxis] * np.column_stack(
            [users, np.ones(len(users))]
        )
        steps = np.zeros((len(items), pulls.shape[1]))
        steps[self.target] = pulls.sum(axis=0)
        return steps


@dataclass(frozen=True)
class LargestBias(Lie):
    """The target's bias, as large as the updates contract allows. It lifts the target for every user.

    Attributes:
        target: the item to lift.
        size: the largest norm of an update's biases.
    """

    target: int
    size: float

    def update(self, base: GlobalModel, at: LocalRound) -> ItemArrays:
        steps = np.zeros((len(base.items), base.items.shape[1] + 1))
        steps[self.target, -1] = self.size
        return _sent(base, steps)


def _sent(base: GlobalModel, steps: np.ndarray) -> ItemArrays:
    """Return the contribution with these steps (items, dims + 1).

    It claims no squared gradients, so the server shortens its steps no further.
    """
    nothing = require(base.items, ItemArrays).map(np.zeros_like)
    sent = steps.astype(np.float32)
    return replace(nothing, embeddings=sent[:, :-1].copy(), biases=sent[:, -1].copy())


def _largest(values: Range) -> float:
    return values.highest * values.step


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))  # it does not overflow
