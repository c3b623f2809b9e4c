"""A blend of what lasts and what comes next: EASE and the next-item model, federated together in one round.

EASE knows what goes with a history in whatever order, the next-item model what follows its latest items.
Both are linear in what is remembered of a history, so the blend is again one linear model,

    scores = z_next' B_next + weight z_lasting' B_ease

with the memories z of `next_item`, and the statistics of both are sums over users.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from models.federation.arrays import ArrayGroup, FloatArray
from models.recommenders import ease, next_item
from models.recommenders.ease import EaseSpec, EaseStatistics
from models.recommenders.histories import Histories
from models.recommenders.next_item import NextItemSpec, NextItemStatistics


@dataclass(frozen=True)
class BlendSpec:
    """How the two are learned and blended.

    Attributes:
        next_item: of the next-item model.
        ease: of EASE.
        lasting_forgetting: how fast EASE's input forgets, as `NextItemSpec.forgetting`; less than the other.
        lasting_weight: weight of EASE's scores beside 1.
    """

    next_item: NextItemSpec = field(default_factory=lambda: NextItemSpec(regularisation=250.0))
    ease: EaseSpec = field(default_factory=lambda: EaseSpec(regularisation=500.0))
    lasting_forgetting: Annotated[float, Ge(0)] = 0.25
    lasting_weight: Annotated[float, Ge(0)] = 0.7


@dataclass(frozen=True)
class BlendWeights(ArrayGroup):
    """The shared model.

    Attributes:
        following: (items, items) float32, the next-item model's weights.
        lasting: (items, items) float32, EASE's weights.
    """

    following: FloatArray
    lasting: FloatArray


@dataclass(frozen=True)
class BlendStatistics(ArrayGroup):
    """A client's sums over its users; float32, as in `EaseStatistics` and `NextItemStatistics`."""

    gram: FloatArray
    memory_gram: FloatArray
    transitions: FloatArray


def statistics(histories: Histories, spec: BlendSpec) -> BlendStatistics:
    """The client half: the sums of both models over these users."""
    following = next_item.statistics(histories, spec.next_item)
    return BlendStatistics(ease.statistics(histories).gram, following.memory_gram, following.transitions)


def solve(total: BlendStatistics, n_items: int, spec: BlendSpec) -> BlendWeights:
    """The server half: the weights of both models for the sum over all clients."""
    following = NextItemStatistics(total.memory_gram, total.transitions)
    return BlendWeights(
        next_item.solve(following, n_items, spec.next_item).weights,
        ease.solve(EaseStatistics(total.gram), n_items, spec.ease).weights,
    )


def scores(model: BlendWeights, histories: Histories, spec: BlendSpec) -> npt.NDArray[np.float64]:
    """(users, items): the blended scores after the whole of each history."""
    back = histories.steps_back + 1.0
    following = histories.matrix(np.power(back, -spec.next_item.forgetting))
    lasting = histories.matrix(spec.lasting_weight * np.power(back, -spec.lasting_forgetting))
    return np.asarray(
        following @ model.following.astype(np.float64) + lasting @ model.lasting.astype(np.float64)
    )
