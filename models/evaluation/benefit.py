"""The benefit of joining the federation for a client's users, computed from sums only."""

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
# With fewer cases a lead of one standard error is too often chance.
FEWEST_CASES = 10
# If all cases but one are equal, the mean is exactly one standard error, up to rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Benefit:
    """The mean difference between the federated and the silo-only model over held-out cases.

    Attributes:
        mean: federated minus silo-only; positive if joining helped, NaN without cases.
        standard_error: of the mean, paired over the cases; None with fewer than two cases.
        cases: number of held-out cases.
    """

    mean: float
    standard_error: float | None
    cases: int


def paired_difference(federated: FloatArray, alone: FloatArray) -> dict[str, Metric]:
    """Return the sum, and the sum of squares, of the differences federated minus alone.

    Each client computes them. The values of single users stay with the client, and only the two sums leave
    it. The sums of several clients add up to the sums of their union.

    Args:
        federated: (n_cases,), a metric's values with the federated model.
        alone: (n_cases,), the same cases with the model that was trained on this client's data only.

    Raises:
        InvalidInput: the arrays have different numbers of cases.
    """
    if federated.shape != alone.shape:
        raise InvalidInput(
            "A paired difference needs two values per case, "
            f"got arrays of {federated.shape} and {alone.shape}."
        )
    difference = federated.astype(np.float64) - alone.astype(np.float64)
    cases = float(len(difference))
    return {
        DIFFERENCE: Metric(float(difference.sum()), cases),
        SQUARED_DIFFERENCE: Metric(float((difference**2).sum()), cases),
    }


def benefit_of(difference: Metric, squared: Metric) -> Benefit:
    """Return the mean difference and its standard error sqrt(s² / n), with s² the unbiased sample variance.

    Args:
        difference: the sum of the differences and their number.
        squared: the sum of their squares and their number.
    """
    n = difference.weight
    if n < 2:  # noqa: PLR2004 - the sample variance of fewer than two values does not exist
        return Benefit(difference.value, None, int(n))
    # Rounding can make the difference of two nearly equal sums slightly negative.
    variance = max(0.0, (squared.total - difference.total**2 / n) / (n - 1))
    return Benefit(difference.value, math.sqrt(variance / n), int(n))


def offer_of(benefit: Benefit) -> Offer:
    """Return the model to offer a client's users: the shared one, unless their own is clearly better.

    Their own model is offered if it leads by more than one standard error on at least `FEWEST_CASES` cases.
    This is the one-standard-error rule (Breiman et al. 1984, *Classification and Regression Trees*, section
    3.4.3): the default choice stands unless another one is better by more than noise.

    Args:
        benefit: on validation cases. If the reported cases made the choice, the offer would look better than
            it is.
    """
    if benefit.standard_error is None or benefit.cases < FEWEST_CASES:
        return "global"
    return "local" if -benefit.mean > benefit.standard_error * (1.0 + _ROUNDING) else "global"
