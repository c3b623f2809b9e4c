"""Attackers that tell from a noisy training whether a canary was in it.

They know everything else: all other users, the canary's items, the features and how much noise there is. That
is what differential privacy promises to withstand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.federation.model import require
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Float64Array
from models.kernel.seeds import generator_for, seed_for
from models.recommenders.base.family import LocalRound
from models.recommenders.private.model import ContentWeights
from tasks.bench.privacy.canary_world import CanaryWorld, Rows
from tasks.bench.privacy.noisy_sums import NoisyRound, noisy_rounds
from tasks.bench.quality.cases import Learner

# The one canary of a small world.
CANARY = (0,)


@dataclass(frozen=True)
class Seen:
    """What attackers see in the runs with or without the canary.

    Attributes:
        sums: (runs,), the logarithm of how much likelier the noisy sums are with the canary than without.
        model: (runs, 2), what of the final model depends on the canary most: the same of its popularity,
            which is a noisy sum, and the mean weight between the canary's items.
    """

    sums: Float64Array
    model: Float64Array


def seen_in_runs(
    world: CanaryWorld,
    multiplier: float,
    runs: int,
    seed: int,
    *,
    is_in: bool,
    joining: Sequence[int] = CANARY,
) -> Seen:
    """Train so many times with fresh noise, and return what an attacker on the canary sees.

    Args:
        world: with one canary.
        multiplier: of the noise that is really added.
        runs: number of trainings.
        seed: of the noise.
        is_in: whether the canary is in the trainings.
        joining: who joins as the canary. A canary that joins twice has a longer part than promised.
    """
    learners = world.learners(joining if is_in else ())
    without, joined = world.pooled(), world.pooled(joining)
    found = []
    for run in range(runs):
        own = seed_for(seed, "runs", repr(multiplier), int(is_in), run)
        rounds = noisy_rounds(learners, world.family, multiplier, own)
        ratios = [_log_ratio(world, each, without, joined, multiplier) for each in rounds]
        items = require(rounds[-1].model.items, ContentWeights)
        found.append((sum(ratios), ratios[0], _weight_between(items, world.canaries[0])))
    values = np.array(found)
    return Seen(values[:, 0], values[:, 1:])


def model_scores(present: Float64Array, absent: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the scores of an attacker that sees the final model alone, (runs,) each.

    It is Fisher's linear discriminant of the features, fitted to the first half of the runs.

    Args:
        present: (runs, features), of the runs with the canary.
        absent: (runs, features), of those without.
    """
    known_in, known_out = (np.array_split(values, 2)[0] for values in (present, absent))
    within = np.cov(known_in, rowvar=False) + np.cov(known_out, rowvar=False)
    direction = np.linalg.solve(within, known_in.mean(axis=0) - known_out.mean(axis=0))
    return present @ direction, absent @ direction


def one_run_scores(world: CanaryWorld, multiplier: float, seed: int) -> tuple[Float64Array, Float64Array]:
    """Train once with each canary in or out by a coin, and return the scores of both kinds of canaries.

    The attacker knows all other users. It takes half of each canary off the sums, and compares what is left
    with each canary's own part.

    Args:
        world: with many canaries.
        multiplier: of the noise that is really added.
        seed: of the noise and the coins.
    """
    number = len(world.canaries)
    coins = generator_for(seed, "coins", repr(multiplier))
    is_in = coins.random(number) < 0.5  # noqa: PLR2004 - a fair coin
    learners = world.learners(np.flatnonzero(is_in).tolist())
    own = seed_for(seed, "one run", repr(multiplier))
    rounds = noisy_rounds(learners, world.family, multiplier, own)
    without, everyone = world.pooled(), world.pooled(range(number))
    scores = np.zeros(number)
    for each in rounds:
        units = world.family.unit_noise(each.base.round + 1)
        others, all_in = (_part(world, each, learner) for learner in (without, everyone))
        left = {
            name: (array - (others[name] + all_in[name]) / 2.0) / np.square(multiplier * units[name])
            for name, array in _values(each.sums.total).items()
        }
        for canary, items in enumerate(world.canaries):
            part = _part(world, each, world.learner([items]))
            scores[canary] += sum(float(left[name] @ part[name]) for name in left)
    return scores[is_in], scores[~is_in]


def _log_ratio(
    world: CanaryWorld, round_: NoisyRound, without: Learner, joined: Learner, multiplier: float
) -> float:
    """Return log p(sums | with the canary) - log p(sums | without) for Gaussian noise.

    The canary's part is the difference that it really makes. If that were longer than promised, the attack
    would profit.
    """
    units = world.family.unit_noise(round_.base.round + 1)
    others, total = (_part(world, round_, learner) for learner in (without, joined))
    found = 0.0
    for name, array in _values(round_.sums.total).items():
        own = total[name] - others[name]
        found += float(own @ (array - others[name] - own / 2.0)) / (multiplier * units[name]) ** 2
    return found


def _part(world: CanaryWorld, round_: NoisyRound, learner: Learner) -> dict[str, Float64Array]:
    """Return what these users add up to, without noise, from the round's model."""
    base = round_.base
    at = LocalRound("attacker", base.round + 1, 0)
    return _values(world.family.train(base.items, None, learner, at)[0])


def _values(arrays: ArrayGroup) -> dict[str, Float64Array]:
    return {name: array.astype(np.float64) for name, array in arrays.named()}


def _weight_between(items: ContentWeights, own: Rows) -> float:
    """Return the mean weight between different ones of these items."""
    block = items.weights[0][np.ix_(own, own)].astype(np.float64)
    return float(block.sum() / (len(own) * (len(own) - 1)))
