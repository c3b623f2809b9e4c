"""Trainings over silos, whose sums have noise of one multiplier.

The noise of all silos together is exactly what is promised. A job of as many silos has a little more, because
it can lose some of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.federation.contribution import Contribution, RunningSum, Summation
from models.federation.fixed_point import ranges_for, rounded
from models.federation.model import GlobalModel
from models.kernel.ranges import Range
from models.kernel.seeds import seed_for
from models.privacy.noise_plan import NoisePlan
from models.privacy.noised import noised
from models.recommenders.base.family import Family, LocalRound
from models.recommenders.private.spec import ROUNDS
from tasks.bench.quality.cases import Learner

Learners = Mapping[str, Learner]


@dataclass(frozen=True)
class NoisyRound:
    """A round of a training.

    Attributes:
        base: the model that the silos were given.
        sums: what they sent, added up, with noise.
        model: the model after the round.
    """

    base: GlobalModel
    sums: RunningSum[Any]
    model: GlobalModel


def noisy_rounds(
    learners: Learners, family: Family, multiplier: float, seed: int, rounds: int = ROUNDS
) -> tuple[NoisyRound, ...]:
    """Return the rounds of a training.

    Args:
        learners: the silos.
        family: bounds each user's part.
        multiplier: of the noise of all rounds together.
        seed: of the noise.
        rounds: as many as the family has.
    """
    family = family.with_noise(NoisePlan(multiplier, len(learners)))
    n_items = next(iter(learners.values())).histories.n_items
    model, found = GlobalModel(0, "", family.initial(n_items, seed)), list[NoisyRound]()
    for round_ in range(1, rounds + 1):
        parts = {
            name: family.train(model.items, None, learner, LocalRound(name, round_, seed))[0]
            for name, learner in learners.items()
        }
        noise, rule = family.unit_noise(round_), family.rule()
        assert noise is not None, "the family bounds each user's part"  # noqa: S101
        sums = noisy_sum(parts, noise, multiplier, seed, rule.ranges)
        found.append(NoisyRound(model, sums, rule.finish(sums, model)))
        model = found[-1].model
    return tuple(found)


def noisy_sum(
    parts: Mapping[str, Any],
    unit_noise: Mapping[str, float],
    multiplier: float,
    seed: int,
    ranges: Mapping[str, Range],
) -> RunningSum[Any]:
    """Return the sum of the silos' parts, each with its share of the noise.

    Args:
        parts: silo -> what it adds up over its users.
        unit_noise: array name -> standard deviation of the sum's noise for a multiplier of 1.
        multiplier: of the noise.
        seed: of the silos' keys.
        ranges: array name -> the range of its values.
    """
    deviations = NoisePlan(multiplier, len(parts)).client_deviations(unit_noise)
    summation: Summation[Any] | None = None
    for name, part in sorted(parts.items()):
        key = hashlib.sha256(str(seed_for(seed, "noise", name)).encode()).digest()
        sent = noised(
            rounded(Contribution(part), ranges_for(type(part), ranges)),
            deviations,
            key,
            (name,),
        )
        summation = summation or Summation(part)
        summation.add(name, sent)
    assert summation is not None, "there is a silo"  # noqa: S101
    return summation.result()
