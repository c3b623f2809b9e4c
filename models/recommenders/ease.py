"""EASE, whose one statistic is a sum over users: federated in one round, without loss.

Steck 2019 ("Embarrassingly Shallow Autoencoders for Sparse Data", eq. 8): with the used pairs as X (users,
items) of 0 and 1, the item weights B that minimise |X - X B|² + l |B|² under a diagonal of 0 are

    P = ( X'X + l I )^-1,    B_ij = - P_ij / P_jj

X'X counts how many users used both of two items, so each client adds up its own users' and the server solves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Gt

from models.federation.arrays import ArrayGroup, FloatArray
from models.recommenders.histories import Histories
from models.recommenders.symmetric import symmetric, triangle, triangle_size


@dataclass(frozen=True)
class EaseSpec:
    """How EASE is trained.

    Attributes:
        regularisation: l above.
    """

    regularisation: Annotated[float, Gt(0)] = 300.0


@dataclass(frozen=True)
class ItemWeights(ArrayGroup):
    """The shared model of item-to-item recommenders.

    Attributes:
        weights: (items, items) float32; how much the item of a row speaks for the item of a column.
    """

    weights: FloatArray


@dataclass(frozen=True)
class EaseStatistics(ArrayGroup):
    """A client's sums over its users.

    Attributes:
        gram: (triangle of items,) float32, X'X; whole numbers, and so exact below 2**24 users.
    """

    gram: FloatArray

    @classmethod
    def zero(cls, n_items: int) -> EaseStatistics:
        """The sums over no users."""
        return cls(np.zeros(triangle_size(n_items), dtype=np.float32))


def statistics(histories: Histories) -> EaseStatistics:
    """The client half: how many of these users used both of two items."""
    used = histories.matrix()
    return EaseStatistics(triangle((used.T @ used).toarray()).astype(np.float32))


def solve(total: EaseStatistics, n_items: int, spec: EaseSpec) -> ItemWeights:
    """The server half: the item weights for the sum over all clients."""
    gram = symmetric(total.gram, n_items)
    inverse = np.linalg.inv(gram + spec.regularisation * np.eye(n_items))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return ItemWeights(weights.astype(np.float32))


def scores(model: ItemWeights, histories: Histories) -> npt.NDArray[np.float64]:
    """(users, items): X B."""
    return np.asarray(histories.matrix() @ model.weights.astype(np.float64))
