"""Lower bounds on epsilon from what an attacker told right and wrong. Each holds with 95 % confidence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.kernel.histories import Float64Array
from models.privacy.mechanisms import Mechanism, epsilon_of

CONFIDENCE = 0.95
# Thresholds that are tried.
_THRESHOLDS = 300
# Shares of the canaries that are told to be in, and as many to be out. Coins rarely fall so evenly that half
# would be right.
_SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.4)
_LEAST = 1e-300


@dataclass(frozen=True)
class Bounds:
    """Lower bounds on the epsilon of a mechanism.

    Attributes:
        plain: of any mechanism.
        gaussian: of one that is a Gaussian mechanism, or what is computed from one. It needs far fewer runs.
    """

    plain: float
    gaussian: float


def bounds_from_runs(present: Float64Array, absent: Float64Array, delta: float) -> Bounds:
    """Return what the scores of an attacker show, who calls a user present from a threshold on.

    The first halves of the runs choose the thresholds, the second halves give the bounds.

    The share of runs with the user that it calls so is at least a, and that of runs without the user at most
    b, with 95 % confidence for both (Clopper and Pearson 1934). Any mechanism has

        epsilon >= log((a - delta) / b)   and   epsilon >= log((1 - b - delta) / (1 - a))

    (Jagielski, Ullman, Oprea 2020, "Auditing Differentially Private Machine Learning", section 4). A Gaussian
    one has a multiplier of at most 1 / (Phi^-1(a) - Phi^-1(b)), which gives its epsilon (Nasr et al. 2023,
    "Tight Auditing of Differentially Private Machine Learning", section 5).

    Args:
        present: (runs,), the scores of runs with the user; higher ones speak for the user.
        absent: (runs,), those of runs without the user.
        delta: for which the epsilons are.
    """
    (chosen_in, tested_in), (chosen_out, tested_out) = np.array_split(present, 2), np.array_split(absent, 2)
    ranks = np.linspace(0.0, 1.0, _THRESHOLDS + 2)[1:-1]
    thresholds = np.quantile(np.concatenate([chosen_in, chosen_out]), ranks)
    plain, inverse = _shown(thresholds, chosen_in, chosen_out, delta)
    best = thresholds[[np.argmax(plain), np.argmax(inverse)]]
    (found, _), (_, signal) = np.stack(_shown(best, tested_in, tested_out, delta), axis=1)
    gaussian = epsilon_of([Mechanism(1.0 / float(signal))], delta) if signal > 0.0 else 0.0
    return Bounds(max(0.0, float(found)), gaussian)


def largest_from_runs(runs: int, delta: float) -> Bounds:
    """Return the bounds if an attacker is never wrong, in so many runs with and as many without the user."""
    return bounds_from_runs(np.ones(runs), np.zeros(runs), delta)


def bound_from_one_run(
    choosing: tuple[Float64Array, Float64Array], tested: tuple[Float64Array, Float64Array], delta: float
) -> float:
    """Return what an attacker shows that tells which of many canaries are in one training.

    It calls as many canaries of the highest scores present as of the lowest ones absent. One training
    chooses the number, the other one gives the bound.

    Args:
        choosing: scores of the canaries that are in, and of those that are not; higher ones speak for it.
        tested: the same of the other training.
        delta: for which epsilon is.
    """

    def bound(scores: tuple[Float64Array, Float64Array], each: int) -> float:
        canaries = sum(len(some) for some in scores)
        return one_run_epsilon(canaries, 2 * each, _told_right(scores, each), delta)

    fewest = min(sum(len(some) for some in scores) for scores in (choosing, tested))
    numbers = sorted({max(1, int(share * fewest)) for share in _SHARES})
    return bound(tested, max(numbers, key=lambda each: bound(choosing, each)))


def one_run_epsilon(canaries: int, guesses: int, right: int, delta: float) -> float:
    """Return the largest epsilon that so many right guesses refute, 0 if they refute none.

    Args:
        canaries: number of users who were in the training or not by independent fair coins.
        guesses: number of them of which the attacker guessed which.
        right: number of right guesses.
        delta: for which epsilon is.
    """
    from scipy.optimize import brentq

    def excess(epsilon: float) -> float:
        return _chance(canaries, guesses, right, epsilon, delta) - (1.0 - CONFIDENCE)

    if excess(0.0) >= 0.0:
        return 0.0
    upper = 1.0
    while excess(upper) < 0.0:
        upper *= 2.0
    return float(brentq(excess, 0.0, upper))


def _chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Return the largest probability of so many right guesses if a training has this epsilon and delta.

    Steinke, Nasr, Jagielski 2023, "Privacy Auditing with One (1) Training Run", theorem 5.2.
    """
    from scipy.stats import binom

    wins = 1.0 / (1.0 + math.exp(-epsilon))
    fewer = np.arange(1, right + 1)
    just_below = np.cumsum(binom.pmf(right - fewer, guesses, wins)) / fewer
    slack = 2.0 * canaries * delta * just_below.max(initial=0.0)
    return float(binom.sf(right - 1, guesses, wins) + slack)


def _told_right(scores: tuple[Float64Array, Float64Array], each: int) -> int:
    """Return the number of right guesses among the `each` highest and the `each` lowest scores."""
    present = np.concatenate([np.full(len(some), is_in) for some, is_in in zip(scores, (1, 0), strict=True)])
    ordered = present[np.argsort(np.concatenate(scores), kind="stable")]
    return int(ordered[-each:].sum() + (1 - ordered[:each]).sum())


def _shown(
    thresholds: Float64Array, present: Float64Array, absent: Float64Array, delta: float
) -> tuple[Float64Array, Float64Array]:
    """Return the plain bound and the inverse multiplier of each threshold, both (thresholds,)."""
    from scipy.stats import beta, norm

    tail = (1.0 - CONFIDENCE) / 2.0
    hits, false = ((scores[:, np.newaxis] >= thresholds).sum(axis=0) for scores in (present, absent))
    # Clopper and Pearson's ends, where beta has no such quantile if nothing or all was hit.
    least = np.where(hits > 0, beta.ppf(tail, np.maximum(hits, 1), len(present) - hits + 1), 0.0)
    most = np.where(
        false < len(absent), beta.ppf(1.0 - tail, false + 1, np.maximum(len(absent) - false, 1)), 1.0
    )
    by_presence = np.log(np.maximum(least - delta, _LEAST) / most)
    by_absence = np.log(np.maximum(1.0 - most - delta, _LEAST) / (1.0 - least))
    return np.maximum(by_presence, by_absence), norm.ppf(least) - norm.ppf(most)
