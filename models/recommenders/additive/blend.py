"""A blend of what lasts and what comes next: EASE and the next-item model, federated together in one round.

EASE knows what goes with a history in whatever order, the next-item model what follows its latest items.
Both are linear in what is remembered of a history, so the blend is again one linear model,

    scores = z_next' B_next + weight z_lasting' B_ease

with the memories z of `next_item`, and the statistics of both are sums over users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt

from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Histories
from models.kernel.settings import refuse_without_effect
from models.recommenders.additive import ease, next_item
from models.recommenders.additive.ease import EaseSpec, EaseStatistics
from models.recommenders.additive.next_item import NextItemSpec, NextItemStatistics
from models.recommenders.items.item_weights import ItemWeights


@dataclass(frozen=True)
class BlendSpec:
    """How the two are learned and blended.

    Attributes:
        forgetting, regularisation, dropout: of the next-item model, as in `NextItemSpec`.
        lasting_regularisation: of EASE, as in `EaseSpec`.
        lasting_forgetting: how fast EASE's input forgets, as `forgetting` does.
        lasting_weight: weight of EASE's scores beside 1.
        family: names this way to train.

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

    @property
    def next_item(self) -> NextItemSpec:
        """How the next-item model is learned."""
        return NextItemSpec(self.forgetting, self.regularisation, self.dropout)

    @property
    def ease(self) -> EaseSpec:
        """How EASE is learned."""
        return EaseSpec(self.lasting_regularisation)


@dataclass(frozen=True)
class BlendStatistics(ArrayGroup):
    """A client's sums over its users; float32, as in `EaseStatistics` and `NextItemStatistics`."""

    AXES: ClassVar[Mapping[str, str]] = {**EaseStatistics.AXES, **NextItemStatistics.AXES}
    GROWING: ClassVar[frozenset[str]] = EaseStatistics.GROWING | NextItemStatistics.GROWING

    gram: FloatArray
    memory_gram: FloatArray
    transitions: FloatArray

    @classmethod
    def zero(cls, n_items: int) -> BlendStatistics:
        """The sums over no users."""
        following = NextItemStatistics.zero(n_items)
        return cls(EaseStatistics.zero(n_items).gram, following.memory_gram, following.transitions)


def statistics(histories: Histories, spec: BlendSpec) -> BlendStatistics:
    """The client half: the sums of both models over these users."""
    following = next_item.statistics(histories, spec.next_item)
    return BlendStatistics(ease.statistics(histories).gram, following.memory_gram, following.transitions)


def solve(total: BlendStatistics, n_items: int, spec: BlendSpec) -> ItemWeights:
    """The server half: the weights of both models for the sum over all clients, each with its memory."""
    following = next_item.solve(
        NextItemStatistics(total.memory_gram, total.transitions), n_items, spec.next_item
    )
    return blended(following, ease.solve(EaseStatistics(total.gram), n_items, spec.ease), spec)


def blended(following: ItemWeights, lasting: ItemWeights, spec: BlendSpec) -> ItemWeights:
    """Both models as one, whatever both remember by themselves."""
    weight = np.float32(spec.lasting_weight)
    return ItemWeights(
        weights=np.concatenate([following.weights, weight * lasting.weights]),
        forgetting=np.array([spec.forgetting, spec.lasting_forgetting], dtype=np.float32),
        popularity=lasting.popularity,
    )
