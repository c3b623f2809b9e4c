"""The recommenders of the privacy table, each federated over the silos with noise of one multiplier.

Each is one Gaussian mechanism of that multiplier. The noise of all silos together is exactly what is
promised. A job of as many silos has a little more, because it can lose some of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from models.federation.contribution import Contribution, RunningSum, Summation
from models.federation.fixed_point import ranges_for, rounded
from models.federation.model import GlobalModel
from models.kernel.arrays import ArrayGroup
from models.kernel.seeds import seed_for
from models.privacy.noise_plan import NoisePlan
from models.privacy.noised import noised
from models.recommenders.base.family import LocalRound
from models.recommenders.items.features import ItemFeatures
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.private.family import DpItemsFamily
from models.recommenders.private.solving import Popularity, basis_of, content_spectrum, weights_of
from models.recommenders.private.spec import ROUNDS, DpItemsSpec
from models.recommenders.private.statistics import matrix_of, pair_sums, popularity_sums
from tasks.bench.quality.arms import Trained, scores_by_history
from tasks.bench.quality.cases import BenchClient, Learner

Learners = Mapping[str, Learner]
# (silos, features, noise multiplier, seed of the noise) -> a recommender
Arm = Callable[[Learners, ItemFeatures, float, int], Trained]

# The popularity's share of the budget if contents get all the rest.
_SHARE = 0.45
_NOBODY = np.zeros(0, dtype=np.int64)


def popularity(learners: Learners, features: ItemFeatures, multiplier: float, seed: int) -> Trained:
    """Return a recommender of the most popular items. The popularity gets the whole budget."""
    counts = _popularity(learners, multiplier, 1.0, seed)

    def scores(client: BenchClient) -> np.ndarray:
        return np.tile(counts, (len(client.user_ids), 1))

    return Trained(scores)


def content_only(learners: Learners, features: ItemFeatures, multiplier: float, seed: int) -> Trained:
    """Return a recommender that knows features, popularity and content profiles, and no pair of items.

    It is told the number of users, which `dp_items` has to estimate.
    """
    spec = DpItemsSpec(popularity_share=_SHARE)
    noisy = _popularity(learners, multiplier, _SHARE, seed)
    known = Popularity.of(noisy, multiplier * _SHARE**-0.5)
    basis = basis_of(features.smooth(), known)
    deviation = spec.content_norm**2 * (1.0 - _SHARE) ** -0.5
    sums = _summed(
        {
            name: pair_sums(learner.histories, _NOBODY, basis, spec.content_norm)
            for name, learner in learners.items()
        },
        {"content": deviation, "pairs": deviation},
        multiplier,
        seed,
    )
    users = sum(len(learner.user_ids) for learner in learners.values())
    spectrum = content_spectrum(matrix_of(sums.total.content, basis.shape[1]), basis)
    weights = weights_of(users * known.shares + spec.regularisation, (spectrum,))
    return Trained(scores_by_history(ItemWeights.of(weights, spec.forgetting, noisy)))


def dp_items(learners: Learners, features: ItemFeatures, multiplier: float, seed: int) -> Trained:
    """Return the private item model with its default settings."""
    noise = NoisePlan(multiplier, len(learners))
    family = DpItemsFamily(DpItemsSpec()).with_features(lambda: features).with_noise(noise)
    model = GlobalModel(0, "", family.initial(features.items, seed))
    for round_ in range(1, ROUNDS + 1):
        parts = {
            name: family.train(model.items, None, learner, LocalRound(name, round_, seed))[0]
            for name, learner in learners.items()
        }
        state = _summed(parts, family.unit_noise(round_), multiplier, seed)
        model = family.rule().finish(state, model)
    return Trained(scores_by_history(model.items), ROUNDS, model=model.items)


ARMS: Mapping[str, Arm] = {"popularity": popularity, "content only": content_only, "dp_items": dp_items}


def _popularity(learners: Learners, multiplier: float, share: float, seed: int) -> np.ndarray:
    parts = {name: popularity_sums(learner.histories) for name, learner in learners.items()}
    sums = _summed(parts, {"popularity": share**-0.5}, multiplier, seed)
    return np.asarray(sums.total.popularity)


def _summed(
    parts: Mapping[str, ArrayGroup], unit_noise: Mapping[str, float], multiplier: float, seed: int
) -> RunningSum[Any]:
    """Return the sum of the silos' parts, each with its share of the noise."""
    deviations = NoisePlan(multiplier, len(parts)).client_deviations(unit_noise)
    summation: Summation[Any] | None = None
    for name, part in sorted(parts.items()):
        kind = type(part)
        key = hashlib.sha256(str(seed_for(seed, "noise", name)).encode()).digest()
        sent = noised(
            rounded(Contribution(part), ranges_for(kind, kind.RANGES)),  # type: ignore[attr-defined]
            deviations,
            key,
            (name,),
        )
        summation = summation or Summation(part)
        summation.add(name, sent)
    assert summation is not None, "there is a silo"  # noqa: S101
    return summation.result()
