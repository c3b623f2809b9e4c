"""EASE. Its one statistic is a sum over users, so it federates in one round without loss.

Steck 2019 ("Embarrassingly Shallow Autoencoders for Sparse Data", eq. 8): with the used pairs as X (users,
items) of 0 and 1, the item weights B that minimise |X - X B|² + l |B|² under a diagonal of 0 are

    P = ( X'X + l I )^-1,    B_ij = - P_ij / P_jj

X'X counts how many users used both of two items, so each client adds up its own users' and the server solves.
Training knows no order. A history that is scored does: its older items have less weight, as in `next_item`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Histories
from models.kernel.ranges import Range
from models.recommenders.additive.item_to_item import ItemToItemFamily
from models.recommenders.base.family import FamilySpec
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.items.symmetric import symmetric, triangle, triangle_size


@dataclass(frozen=True)
class EaseSpec:
    """The settings of EASE.

    Attributes:
        regularisation: l above.
        forgetting: an item used k places before has the weight k^-forgetting in a history that is scored; 0
            weighs all items equally.
        family: the family's name.
    """

    regularisation: Annotated[float, Gt(0)] = 800.0
    forgetting: Annotated[float, Ge(0)] = 0.85
    family: Literal["ease"] = "ease"


@dataclass(frozen=True)
class EaseStatistics(ArrayGroup):
    """A client's sums over its users.

    Attributes:
        gram: (triangle of items,) float32, X'X. The values are integers, so they are exact below 2**24 users.
        RANGES: of a silo of less than 2**24 users.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"gram": Range.counting(24)}

    AXES: ClassVar[Mapping[str, str]] = {"gram": "triangle"}
    GROWING: ClassVar[frozenset[str]] = frozenset({"gram"})

    gram: FloatArray

    @classmethod
    def zero(cls, n_items: int) -> EaseStatistics:
        """Return the sums over no users."""
        return cls(np.zeros(triangle_size(n_items), dtype=np.float32))


class CooccurrenceFamily(ItemToItemFamily[EaseStatistics]):
    """A family whose one statistic counts how many users used both of two items."""

    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]] = (EaseStatistics,)
    client_pair_bytes: ClassVar[int] = 20

    @property
    def ranges(self) -> Mapping[str, Range]:
        return EaseStatistics.RANGES

    def nothing(self, n_items: int) -> EaseStatistics:
        return EaseStatistics.zero(n_items)

    def statistics(self, base: ItemWeights, histories: Histories) -> EaseStatistics:
        """Return the number of these users who used both items, for each pair of items."""
        used = histories.matrix()
        return EaseStatistics(triangle((used.T @ used).toarray()).astype(np.float32))


@dataclass(frozen=True)
class EaseFamily(CooccurrenceFamily):
    """EASE.

    Attributes:
        spec: how to train.
    """

    spec_type: ClassVar[type[FamilySpec]] = EaseSpec

    spec: EaseSpec

    def solve(self, total: EaseStatistics, n_items: int) -> ItemWeights:
        gram = symmetric(total.gram, n_items)
        inverse = np.linalg.inv(gram + self.spec.regularisation * np.eye(n_items))
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return ItemWeights.of(weights, self.spec.forgetting, popularity=np.diag(gram))
