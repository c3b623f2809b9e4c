"""A linear model of the next item. Its statistics are sums over users, so it federates in one round.

Each item of a history is predicted from all items before it, by ridge regression. Let z_t be the memory
before place t, with z_t[i] = k^-e if item i was used k places before, and let y_t mark the item used at t.
The weights are

    B = ( sum z_t z_t' + l I + p diag(sum z_t z_t') )^-1  sum z_t y_t'

Both sums run over all places of all users, so each client adds up its own and the server solves. This is SLIT
of Choi et al. 2021 ("Session-aware Linear Item-Item Models for Session-based Recommendation", eq. 11), with a
memory that fades as a power of the distance instead of exponentially, and with the penalty of Steck 2020
("Autoencoders that don't overfit towards the Identity", eq. 5), which is what dropping inputs at random with
probability p / (1 + p) amounts to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Histories
from models.kernel.ranges import Range
from models.recommenders.additive.item_to_item import ItemToItemFamily
from models.recommenders.base.family import FamilySpec
from models.recommenders.items.item_weights import ItemWeights, remembered
from models.recommenders.items.symmetric import symmetric, triangle, triangle_size

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NextItemSpec:
    """The settings of the next-item model.

    Attributes:
        forgetting: e above; 0 remembers all items equally.
        regularisation: l above.
        dropout: p above.
        family: the family's name.
    """

    forgetting: Annotated[float, Ge(0)] = 0.75
    regularisation: Annotated[float, Gt(0)] = 500.0
    dropout: Annotated[float, Ge(0)] = 1.0
    family: Literal["next_item"] = "next_item"


@dataclass(frozen=True)
class NextItemStatistics(ArrayGroup):
    """A client's sums over its users, float32 like every update.

    Attributes:
        memory_gram: (triangle of items,), sum of z z'.
        transitions: (items, items), sum of z y'.
        RANGES: of 2**16 users with the same two items. A user's own values are rounded to `STEP`, so the sum
            over users is exact, and does not depend on their distribution to clients.
    """

    STEP: ClassVar[float] = 2.0**-10
    RANGES: ClassVar[Mapping[str, Range]] = dict.fromkeys(
        ("memory_gram", "transitions"), Range.counting(26, STEP)
    )

    AXES: ClassVar[Mapping[str, str]] = {"memory_gram": "triangle", "transitions": "items items"}
    GROWING: ClassVar[frozenset[str]] = frozenset({"memory_gram", "transitions"})

    memory_gram: FloatArray
    transitions: FloatArray

    @classmethod
    def zero(cls, n_items: int) -> NextItemStatistics:
        """Return the sums over no users."""
        return cls(
            np.zeros(triangle_size(n_items), dtype=np.float32),
            np.zeros((n_items, n_items), dtype=np.float32),
        )


@dataclass(frozen=True)
class NextItemFamily(ItemToItemFamily[NextItemStatistics]):
    """The next-item model.

    Attributes:
        spec: the settings.
    """

    spec_type: ClassVar[type[FamilySpec]] = NextItemSpec
    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]] = (NextItemStatistics,)

    spec: NextItemSpec

    @property
    def ranges(self) -> Mapping[str, Range]:
        return NextItemStatistics.RANGES

    def nothing(self, n_items: int) -> NextItemStatistics:
        return NextItemStatistics.zero(n_items)

    def statistics(self, base: ItemWeights, histories: Histories) -> NextItemStatistics:
        """Return the sums over all places of these users' histories."""
        gram = np.zeros((histories.n_items, histories.n_items))
        transitions = np.zeros_like(gram)
        for items in histories:
            memory = self._memories(len(items))
            own = np.ix_(items, items)
            gram[own] += np.rint(memory.T @ memory / NextItemStatistics.STEP)
            transitions[own] += np.rint(memory.T / NextItemStatistics.STEP)
        gram, transitions = (each * NextItemStatistics.STEP for each in (gram, transitions))
        return NextItemStatistics(triangle(gram).astype(np.float32), transitions.astype(np.float32))

    def solve(self, total: NextItemStatistics, n_items: int) -> ItemWeights:
        left = symmetric(total.memory_gram, n_items)
        left[np.diag_indices(n_items)] *= 1.0 + self.spec.dropout
        left[np.diag_indices(n_items)] += self.spec.regularisation
        # The first item of a history follows no other, so these counts omit it.
        weights = np.linalg.solve(left, total.transitions)
        return ItemWeights.of(weights, self.spec.forgetting, popularity=total.transitions.sum(axis=0))

    def _memories(self, length: int) -> Float64Array:
        """Return (length, length): in row t, the memory at place t of each place of the same history."""
        places = np.arange(length)
        back = places[:, np.newaxis] - places
        return np.where(back > 0, remembered(np.maximum(back, 1) - 1, self.spec.forgetting), 0.0)
