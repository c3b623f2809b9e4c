"""The recommenders of the privacy table, each federated over the silos with noise of one multiplier.

Each is one Gaussian mechanism of that multiplier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from models.federation.model import require
from models.recommenders.additive.ease import EaseFamily, EaseSpec
from models.recommenders.items.features import ItemFeatures
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.items.unit_pairs import matrix_of
from models.recommenders.private.family import DpItemsFamily
from models.recommenders.private.solving import Popularity, basis_of, content_spectrum, weights_of
from models.recommenders.private.spec import ROUNDS, DpItemsSpec
from models.recommenders.private.statistics import PairSums, PopularitySums, pair_sums, popularity_sums
from tasks.bench.privacy.noisy_sums import Learners, noisy_rounds, noisy_sum
from tasks.bench.quality.arms import Trained, scores_by_history
from tasks.bench.quality.cases import BenchClient


@dataclass(frozen=True)
class PrivateSpecs:
    """The settings of the recommenders.

    Attributes:
        dp_items: of the private item model, and of what its floor shares with it.
        ease: of EASE, with privacy and without.
    """

    dp_items: DpItemsSpec = field(default_factory=DpItemsSpec)
    ease: EaseSpec = field(default_factory=EaseSpec)


# (silos, features, settings, noise multiplier, seed of the noise) -> a recommender
Arm = Callable[[Learners, ItemFeatures, PrivateSpecs, float, int], Trained]

# The popularity's share of the budget if contents get all the rest.
_SHARE = 0.45
_NOTHING = np.zeros(0, dtype=np.int64)


def popularity(
    learners: Learners, features: ItemFeatures, specs: PrivateSpecs, multiplier: float, seed: int
) -> Trained:
    """Return a recommender of the most popular items. The popularity gets the whole budget."""
    counts = _popularity(learners, multiplier, 1.0, seed)

    def scores(client: BenchClient) -> np.ndarray:
        return np.tile(counts, (len(client.user_ids), 1))

    return Trained(scores)


def content_only(
    learners: Learners, features: ItemFeatures, specs: PrivateSpecs, multiplier: float, seed: int
) -> Trained:
    """Return a recommender that knows features, popularity and content profiles, and no pair of items.

    It is told the number of users, which `dp_items` has to estimate.
    """
    spec = replace(specs.dp_items, popularity_share=_SHARE, content_share=_SHARE)
    noisy = _popularity(learners, multiplier, _SHARE, seed)
    known = Popularity.of(noisy, multiplier * _SHARE**-0.5)
    basis = basis_of(features.smooth(), known)
    deviation = spec.content_norm**2 * (1.0 - _SHARE) ** -0.5
    sums = noisy_sum(
        {name: pair_sums(spec, learner.histories, _NOTHING, basis) for name, learner in learners.items()},
        {**spec.unit_noise[1], "content": deviation},
        multiplier,
        seed,
        PairSums.RANGES,
    )
    users = sum(len(learner.user_ids) for learner in learners.values())
    spectrum = content_spectrum(matrix_of(sums.total.content, basis.shape[1]), basis)
    weights = weights_of(users * known.shares + spec.regularisation, (spectrum,))
    return Trained(scores_by_history(ItemWeights.of(weights, spec.forgetting, noisy)))


def dp_items(
    learners: Learners, features: ItemFeatures, specs: PrivateSpecs, multiplier: float, seed: int
) -> Trained:
    """Return the private item model."""
    family = DpItemsFamily(specs.dp_items).with_features(lambda: features)
    *_, last = noisy_rounds(learners, family, multiplier, seed)
    items = require(last.model.items, ItemWeights)
    return Trained(scores_by_history(items), ROUNDS, model=items)


def ease(
    learners: Learners, features: ItemFeatures, specs: PrivateSpecs, multiplier: float, seed: int
) -> Trained:
    """Return EASE of all items' pairs, whose users' parts have the length 1."""
    family = EaseFamily(replace(specs.ease, user_norm="unit"))
    (only,) = noisy_rounds(learners, family, multiplier, seed, rounds=1)
    items = require(only.model.items, ItemWeights)
    return Trained(scores_by_history(items), 1, model=items)


ARMS: Mapping[str, Arm] = {
    "popularity": popularity,
    "content only": content_only,
    "ease": ease,
    "dp_items": dp_items,
}


def _popularity(learners: Learners, multiplier: float, share: float, seed: int) -> np.ndarray:
    parts = {name: popularity_sums(learner.histories) for name, learner in learners.items()}
    sums = noisy_sum(parts, {"popularity": share**-0.5}, multiplier, seed, PopularitySums.RANGES)
    return np.asarray(sums.total.popularity)
