"""Gaussian mechanisms and what they cost together, by the accountants of dp_accounting.

Two data sets are neighbours if one has one user more than the other.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from models.errors import InvalidInput
from models.kernel.json_values import count as json_count
from models.kernel.json_values import number

# The share by which a multiplier may be larger than needed, if it is searched for.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Mechanism:
    """Gaussian mechanisms of one kind.

    Attributes:
        multiplier: standard deviation of the noise over the L2 sensitivity.
        sampling: probability with which a user takes part, independently of all others (Poisson sampling).
        count: number of times that it is used.

    Raises:
        InvalidInput: a number is out of range.
    """

    multiplier: float
    sampling: float = 1.0
    count: int = 1

    def __post_init__(self) -> None:
        if not (0.0 < self.multiplier < math.inf and 0.0 < self.sampling <= 1.0 and self.count >= 1):
            raise InvalidInput(
                f"A mechanism has the noise multiplier {self.multiplier}, is sampled with probability "
                f"{self.sampling} and used {self.count} times, expected a multiplier above 0, a probability "
                "above 0 and up to 1, and a count of at least 1."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the mechanism as JSON values."""
        return asdict(self)

    @classmethod
    def of_json(cls, value: Any) -> Mechanism:
        """Return the mechanism that `to_json` wrote. The value need not be trusted.

        Raises:
            InvalidInput: the value is not a mechanism.
        """
        try:
            if not isinstance(value, Mapping) or value.keys() != {"multiplier", "sampling", "count"}:
                raise ValueError("it needs a multiplier, a sampling and a count")
            return cls(
                number(value["multiplier"], "multiplier"),
                number(value["sampling"], "sampling"),
                json_count(value["count"], "count"),
            )
        except ValueError as error:
            raise InvalidInput(f"A value is not a mechanism: {error}.") from error


def epsilon_of(mechanisms: Iterable[Mechanism], delta: float) -> float:
    """Return the epsilon of all mechanisms together for this delta; 0 if there are none.

    Mechanisms without sampling are together one Gaussian mechanism, whose epsilon is exact (Balle, Wang 2018,
    equation 6). With sampling it is an upper bound, by composing privacy loss distributions (Doroshenko et
    al. 2022, "Connect the Dots").

    Args:
        mechanisms: in any order.
        delta: above 0 and below 1.

    Raises:
        InvalidInput: delta is out of range.
    """
    _require_delta(delta)
    inverse, sampled = _composed(mechanisms)
    if sampled:
        return _epsilon(_sampled_accountant(sampled), inverse, delta)
    return _gaussian_epsilon(inverse, delta)


def multiplier_for(epsilon: float, delta: float, already: Iterable[Mechanism] = ()) -> float:
    """Return the least noise multiplier of a mechanism that costs this epsilon with those before it.

    Args:
        epsilon: above 0; `epsilon_of` all mechanisms is at most this.
        delta: above 0 and below 1.
        already: the mechanisms before.

    Raises:
        InvalidInput: a number is out of range, or the mechanisms before cost as much alone.
    """
    from dp_accounting import get_sigma_gaussian

    _require_delta(delta)
    if not 0.0 < epsilon < math.inf:
        raise InvalidInput(f"Epsilon is {epsilon}, expected a number above 0.", next_step="Try 1.")
    before, sampled = _composed(already)
    # Rounded up, so that the epsilon of the result is not above the given one by the error of the solver.
    left = 1.0 / (get_sigma_gaussian(epsilon, delta) * (1.0 + 1e-9)) ** 2 - before
    spent = _gaussian_epsilon(before, delta)
    if left > 0.0 and not sampled:
        return 1.0 / math.sqrt(left)
    if left > 0.0:
        accountant = _sampled_accountant(sampled)
        spent = _epsilon(accountant, before, delta)
        if spent < epsilon:
            return _searched(accountant, epsilon, delta, before, 1.0 / math.sqrt(left))
    raise InvalidInput(
        f"Nothing is left of an epsilon of {epsilon:g}: {spent:.4g} is spent.",
        next_step="Allow a larger epsilon.",
        epsilon=epsilon,
        spent=spent,
    )


def costs_no_more(some: Iterable[Mechanism], others: Iterable[Mechanism]) -> bool:
    """Return whether mechanisms are a part of others, kind by kind. Those without sampling are one kind."""
    inverse, sampled = _composed(some)
    most, counts = _composed(others)
    # Multipliers that were worked out differently may differ in their last digits.
    return inverse <= most * (1.0 + 1e-9) and all(
        count <= counts.get(kind, 0) for kind, count in sampled.items()
    )


def _require_delta(delta: float) -> None:
    if not 0.0 < delta < 1.0:
        raise InvalidInput(
            f"Delta is {delta}, expected a number above 0 and below 1.",
            next_step="Choose one well below 1 over the number of users, such as 1e-5.",
        )


def _composed(mechanisms: Iterable[Mechanism]) -> tuple[float, dict[tuple[float, float], int]]:
    """Return 1/z^2 of all mechanisms without sampling, and (multiplier, sampling) -> count of the others."""
    inverses, sampled = [], Counter[tuple[float, float]]()
    for each in mechanisms:
        if each.sampling == 1.0:
            inverses.append(each.count / each.multiplier**2)
        else:
            sampled[float(each.multiplier), float(each.sampling)] += each.count
    # Exact sums do not depend on the order.
    return math.fsum(inverses), dict(sorted(sampled.items()))


def _gaussian_epsilon(inverse: float, delta: float) -> float:
    """Return the epsilon of a Gaussian mechanism from its 1/z^2."""
    from dp_accounting import get_epsilon_gaussian

    return float(get_epsilon_gaussian(inverse**-0.5, delta)) if inverse else 0.0


def _sampled_accountant(sampled: Mapping[tuple[float, float], int]) -> Any:
    from dp_accounting import (
        GaussianDpEvent,
        NeighboringRelation,
        PoissonSampledDpEvent,
        SelfComposedDpEvent,
    )
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE)
    for (multiplier, sampling), count in sampled.items():
        event = PoissonSampledDpEvent(sampling, GaussianDpEvent(multiplier))
        accountant.compose(SelfComposedDpEvent(event, count))
    return accountant


def _epsilon(accountant: Any, inverse: float, delta: float) -> float:
    """Return the epsilon of what an accountant has and a Gaussian mechanism of this 1/z^2."""
    from dp_accounting import GaussianDpEvent

    if inverse:
        accountant = copy.deepcopy(accountant).compose(GaussianDpEvent(inverse**-0.5))
    return float(accountant.get_epsilon(delta))


def _searched(accountant: Any, epsilon: float, delta: float, before: float, lower: float) -> float:
    """Return the least multiplier, searched from one that is too small."""

    def fits(multiplier: float) -> bool:
        return _epsilon(accountant, before + multiplier**-2, delta) <= epsilon

    upper = 2.0 * lower
    while not fits(upper):
        lower, upper = upper, 2.0 * upper
    # Each step costs a composition, about a second.
    while upper > lower * (1.0 + _TOLERANCE):
        middle = math.sqrt(lower * upper)
        lower, upper = (lower, middle) if fits(middle) else (middle, upper)
    return upper
