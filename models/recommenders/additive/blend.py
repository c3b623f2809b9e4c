"""A blend of EASE and the next-item model, federated together in one round.

EASE scores items that go with a history in any order. The next-item model scores items that follow its latest
ones. Both are linear in the memory of a history, so the blend is again one linear model,

    scores = z_next' B_next + weight z_lasting' B_ease

with the memories z of `next_item`. The statistics of both are sums over users.
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
from models.kernel.settings import refuse_without_effect
from models.recommenders.additive.ease import EaseFamily, EaseSpec, EaseStatistics
from models.recommenders.additive.item_to_item import ItemToItemFamily
from models.recommenders.additive.next_item import NextItemFamily, NextItemSpec, NextItemStatistics
from models.recommenders.base.family import FamilySpec
from models.recommenders.items.item_weights import ItemWeights


@dataclass(frozen=True)
class BlendSpec:
    """The settings of a blend.

    Attributes:
        forgetting, regularisation, dropout: settings of the next-item model, as in `NextItemSpec`.
        lasting_regularisation: regularisation of EASE, as in `EaseSpec`.
        lasting_forgetting: `forgetting` of EASE's input.
        lasting_weight: weight of EASE's scores; those of the next-item model have 1.
        family: the family's name.

    Raises:
        InvalidConfig: a setting that differs from its default has no effect with the others.
    """

    forgetting: Annotated[float, Ge(0)] = 0.75
    regularisation: Annotated[float, Gt(0)] = 250.0
    dropout: Annotated[float, Ge(0)] = 1.0
    lasting_regularisation: Annotated[float, Gt(0)] = 500.0
    lasting_forgetting: Annotated[float, Ge(0)] = 0.7
    lasting_weight: Annotated[float, Ge(0)] = 0.25
    family: Literal["blend"] = "blend"

    def __post_init__(self) -> None:
        if self.lasting_weight == 0.0:
            for name in ("lasting_regularisation", "lasting_forgetting"):
                refuse_without_effect(self, name, "lasting_weight", 0.0)


@dataclass(frozen=True)
class BlendStatistics(ArrayGroup):
    """A client's sums over its users; float32, as in `EaseStatistics` and `NextItemStatistics`."""

    AXES: ClassVar[Mapping[str, str]] = {**EaseStatistics.AXES, **NextItemStatistics.AXES}
    GROWING: ClassVar[frozenset[str]] = EaseStatistics.GROWING | NextItemStatistics.GROWING

    gram: FloatArray
    memory_gram: FloatArray
    transitions: FloatArray


@dataclass(frozen=True)
class BlendFamily(ItemToItemFamily[BlendStatistics]):
    """EASE and the next-item model, blended.

    Attributes:
        spec: the settings.
    """

    spec_type: ClassVar[type[FamilySpec]] = BlendSpec
    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]] = (BlendStatistics,)
    memories: ClassVar[int] = 2
    client_pair_bytes: ClassVar[int] = 36
    merge_pair_bytes: ClassVar[int] = 140

    spec: BlendSpec

    @property
    def ranges(self) -> Mapping[str, Range]:
        return {**EaseStatistics.RANGES, **NextItemStatistics.RANGES}

    def nothing(self, n_items: int) -> BlendStatistics:
        return _both(self._lasting.nothing(n_items), self._following.nothing(n_items))

    def statistics(self, base: ItemWeights, histories: Histories) -> BlendStatistics:
        """Return the sums of both models over these users."""
        return _both(self._lasting.statistics(base, histories), self._following.statistics(base, histories))

    def solve(self, total: BlendStatistics, n_items: int) -> ItemWeights:
        following = self._following.solve(NextItemStatistics(total.memory_gram, total.transitions), n_items)
        return self.blended(following, self._lasting.solve(EaseStatistics(total.gram), n_items))

    def blended(self, following: ItemWeights, lasting: ItemWeights) -> ItemWeights:
        """Return the blend of a next-item model and an EASE model as one model with both memories."""
        weight = np.float32(self.spec.lasting_weight)
        return ItemWeights(
            weights=np.concatenate([following.weights, weight * lasting.weights]),
            forgetting=np.array([self.spec.forgetting, self.spec.lasting_forgetting], dtype=np.float32),
            popularity=lasting.popularity,
        )

    @property
    def _following(self) -> NextItemFamily:
        spec = self.spec
        return NextItemFamily(NextItemSpec(spec.forgetting, spec.regularisation, spec.dropout))

    @property
    def _lasting(self) -> EaseFamily:
        return EaseFamily(EaseSpec(self.spec.lasting_regularisation))


def _both(lasting: EaseStatistics, following: NextItemStatistics) -> BlendStatistics:
    return BlendStatistics(lasting.gram, following.memory_gram, following.transitions)
