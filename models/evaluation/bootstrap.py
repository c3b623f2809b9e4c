"""Confidence intervals over users from sums alone.

In the Poisson bootstrap each replicate counts each user a Poisson(1) number of times, drawn for each user
independently (Hanley & MacGibbon 2006; Chamandy et al. 2012, "Estimating Uncertainty for Massive Data
Streams"). A replicate therefore does not depend on the number of users elsewhere. Each client draws for its
own users and reports its sums, and the sums of all clients are a bootstrap over the users of all clients.

Replicate 0 is the data: every user counts once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.kernel.seeds import generator_for

Float64Array = npt.NDArray[np.float64]

REPLICATES = 200
# The normal distribution's 97.5 % point.
_Z = 1.959964


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def replicate_weights(
    n_users: int, seed: int, client_id: str, replicates: int = REPLICATES
) -> npt.NDArray[np.int64]:
    """Return how often each replicate counts each user, (1 + replicates, users). Replicate 0 is all ones.

    Equal seeds give equal weights, so the models that a client evaluates are compared on the same replicates.

    Args:
        n_users: number of the client's users.
        seed: a secret of the client if it does not trust the receiver of its sums. Whoever knows the weights
            can solve for each user's values if there are as many replicates as users.
        client_id: the client that the users belong to.
        replicates: number of replicates, without replicate 0.
    """
    drawn = generator_for(seed, "bootstrap", client_id).poisson(1.0, (replicates, n_users))
    return np.concatenate([np.ones((1, n_users), dtype=np.int64), drawn])


def interval(runs: Float64Array) -> Interval:
    """Return the mean of the runs and its standard interval, value ± 1.96 standard errors.

    The standard error is the replicates' standard deviation (Efron & Tibshirani 1993, section 13.2). With
    several runs, which differ in their seeds, the variance of their mean is added. The standard interval is
    used because it also suits figures like coverage, which every replicate underestimates.

    Args:
        runs: (runs, 1 + replicates), a figure in each replicate of each run.
    """
    value = float(runs[:, 0].mean())
    variance = float(runs[:, 1:].mean(axis=0).var(ddof=1))
    if len(runs) > 1:
        variance += float(runs[:, 0].var(ddof=1)) / len(runs)
    error = _Z * variance**0.5
    return Interval(value, value - error, value + error)


def ratio_interval(runs: Float64Array, others: Float64Array) -> Interval:
    """Return the ratio of two means, paired over the replicates, and its standard interval.

    The variance over the runs is added by the delta method.

    Args:
        runs: (runs, 1 + replicates), as for `interval`.
        others: (other runs, 1 + replicates), of the same users in the same replicates.
    """
    ratios = runs.mean(axis=0) / others.mean(axis=0)
    variance = float(ratios[1:].var(ddof=1))
    for each in (runs, others):
        if len(each) > 1:
            values = each[:, 0]
            variance += float(ratios[0]) ** 2 * float(values.var(ddof=1) / len(each) / values.mean() ** 2)
    error = _Z * variance**0.5
    return Interval(float(ratios[0]), float(ratios[0]) - error, float(ratios[0]) + error)
