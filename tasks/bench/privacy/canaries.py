"""The rows of the canary table: what attackers show of epsilon, beside what is claimed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from models.privacy.mechanisms import multiplier_for
from tasks.bench.privacy.bounds import bound_from_one_run, bounds_from_runs
from tasks.bench.privacy.canary_attack import CANARY, model_scores, one_run_scores, seen_in_runs
from tasks.bench.privacy.canary_world import small_world, wide_world
from tasks.bench.quality.table_rows import Announce

# The share of the claimed noise that is added. With less than all, attackers must show more than the claim.
HONEST, TOO_LITTLE = 1.0, 0.1
# Such trainings are easy to tell apart, so fewer are enough.
_FEWER = 4
# Below it too little noise would not be found.
LEAST_RUNS = 60


@dataclass(frozen=True)
class Effort:
    """How much attackers try.

    Attributes:
        runs: trainings with the canary, and as many without.
        canaries: number of canaries of one training.
        seed: of all noise and coins.
    """

    runs: int
    canaries: int
    seed: int = 1


def canary_rows(
    epsilons: Sequence[float], delta: float, effort: Effort, announce: Announce
) -> Iterator[dict[str, Any]]:
    """Yield a row for each claimed epsilon with its noise, then one for each with a tenth of it.

    A row has epsilon (the claim), delta, noise (the share of the claimed noise), multiplier (of the noise
    that is added), runs and canaries; and lower bounds on epsilon: sums, sums_gaussian, model, model_gaussian
    and one_run.

    Args:
        epsilons: what is claimed.
        delta: for all claims and bounds.
        effort: how much attackers try.
        announce: is called with a line of text for each step.
    """
    for noise in (HONEST, TOO_LITTLE):
        runs = effort.runs if noise == HONEST else max(effort.runs // _FEWER, LEAST_RUNS)
        for epsilon in epsilons:
            multiplier = noise * multiplier_for(epsilon, delta)
            label = f"epsilon {epsilon:g}, {noise:g} of its noise"
            yield {
                **{"epsilon": epsilon, "delta": delta, "noise": noise, "multiplier": multiplier},
                **{"runs": runs, "canaries": effort.canaries},
                **shown_by_runs(multiplier, delta, runs, effort.seed, announce, label),
                "one_run": shown_by_one_run(multiplier, delta, effort, announce, label),
            }


def shown_by_runs(
    multiplier: float,
    delta: float,
    runs: int,
    seed: int,
    announce: Announce,
    label: str,
    joining: Sequence[int] = CANARY,
) -> dict[str, float]:
    """Return name -> lower bound on epsilon, from trainings with and without one canary.

    Args:
        multiplier: of the noise that is added.
        delta: for which the epsilons are.
        runs: trainings with the canary, and as many without.
        seed: of the noise.
        announce: is called with a line of text for each step.
        label: what is measured, for these lines.
        joining: who joins as the canary, as in `seen_in_runs`.
    """
    world = small_world()
    announce(f"{label}: {runs} trainings with the canary")
    with_it = seen_in_runs(world, multiplier, runs, seed, is_in=True, joining=joining)
    announce(f"{label}: {runs} trainings without it")
    without = seen_in_runs(world, multiplier, runs, seed, is_in=False, joining=joining)
    sums = bounds_from_runs(with_it.sums, without.sums, delta)
    model = bounds_from_runs(*model_scores(with_it.model, without.model), delta)
    return {
        "sums": sums.plain,
        "sums_gaussian": sums.gaussian,
        "model": model.plain,
        "model_gaussian": model.gaussian,
    }


def shown_by_one_run(
    multiplier: float, delta: float, effort: Effort, announce: Announce, label: str
) -> float:
    """Return the lower bound on epsilon from one training of many canaries, after another one to choose."""
    announce(f"{label}: one training with {effort.canaries} canaries, after one that chooses")
    world = wide_world(effort.canaries)
    choosing, tested = (one_run_scores(world, multiplier, effort.seed + each) for each in (0, 1))
    return bound_from_one_run(choosing, tested, delta)
