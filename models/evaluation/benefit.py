"""What joining the federation gives a client's users, told by sums only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.metric import Metric

FloatArray = npt.NDArray[np.floating]

DIFFERENCE = "benefit"
SQUARED_DIFFERENCE = "benefit_squared"

Offer = Literal["global", "local"]
# On fewer cases a lead of one standard error is too often luck.
FEWEST_CASES = 10
# Where all but one case are alike the difference is exactly one standard error, give or take rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Benefit:
    """Federated minus silo-only, a mean over held-out cases.

    Attributes:
        mean: the mean difference; above 0 joining helped. NaN without cases.
        standard_error: of the mean, paired over the cases; None with fewer than two, where nothing is known.
        cases: number of held-out cases.
    """

    mean: float
    standard_error: float | None
    cases: int


def paired_difference(federated: FloatArray, alone: FloatArray) -> dict[str, Metric]:
    """The sum and the sum of squares of federated minus alone, case by case.

    A client computes this itself: the values of single users stay where they are, only the two sums leave.
    Sums of several clients add up to those of their union.

    Args:
        federated: (n_cases,), a metric's values with the federated model.
        alone: (n_cases,), the same cases with the model trained on this client's data only.

    Raises:
        InvalidInput: the two do not hold the same number of cases.
    """
    if federated.shape != alone.shape:
        raise InvalidInput(
            f"A paired difference needs the same cases twice, got {federated.shape} and {alone.shape} values."
        )
    difference = federated.astype(np.float64) - alone.astype(np.float64)
    cases = float(len(difference))
    return {
        DIFFERENCE: Metric(float(difference.sum()), cases),
        SQUARED_DIFFERENCE: Metric(float((difference**2).sum()), cases),
    }


def benefit_of(difference: Metric, squared: Metric) -> Benefit:
    """The mean difference and its standard error sqrt(s² / n), with s² the unbiased sample variance.

    Args:
        difference: the sum of the differences and their number.
        squared: the sum of their squares and their number.
    """
    n = difference.weight
    if n < 2:  # noqa: PLR2004 - the sample variance of fewer than two values does not exist
        return Benefit(difference.value, None, int(n))
    # Rounding may bring the difference of two nearly equal sums just below zero.
    variance = max(0.0, (squared.total - difference.total**2 / n) / (n - 1))
    return Benefit(difference.value, math.sqrt(variance / n), int(n))


def offer_of(benefit: Benefit) -> Offer:
    """The model that a client's users are better served by: the shared one, unless their own clearly is.

    Their own it is where that leads by more than one standard error on at least `FEWEST_CASES` cases: the
    rule of one standard error (Breiman et al. 1984, *Classification and Regression Trees*, section 3.4.3), by
    which the usual choice stands unless another is better by more than noise.

    Args:
        benefit: on validation cases. Chosen by the cases that are reported, an offer would look better than
            it is.
    """
    if benefit.standard_error is None or benefit.cases < FEWEST_CASES:
        return "global"
    return "local" if -benefit.mean > benefit.standard_error * (1.0 + _ROUNDING) else "global"
