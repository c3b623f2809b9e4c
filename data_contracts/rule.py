"""A rule of a contract as plain data, so writing and reading contracts needs no Great Expectations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rule:
    """An expectation of a suite.

    Attributes:
        name: stable name within the suite, by which breaches are identified.
        kind: key of the expectation's class in `data_contracts.expectations.EXPECTATIONS`.
        required: the requirement as a noun phrase, for Data Docs and for the text of a breach.
        kwargs: arguments of the expectation.
        counted: for a rule about a number of rows in breach, the limits with which they were counted. The
            suite's JSON has them.
    """

    name: str
    kind: str
    required: str
    kwargs: Mapping[str, Any]
    counted: Mapping[str, float] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that the rule needs."""
        return (self.kwargs["column"],) if "column" in self.kwargs else ()

    def holds(self, value: Any) -> bool:
        """Return whether one present value keeps the rule, as Great Expectations decides for a column of it.

        Raises:
            KeyError: the rule is not about single values.
        """
        return _HOLDS[self.kind](value, self.kwargs)

    @property
    def is_measured(self) -> bool:
        """Return whether the rule is about a statistic, whose value is reported even if the rule holds."""
        return self.kind in ("ExpectMeanBetween", "ExpectMaxBetween")


_HOLDS: Mapping[str, Callable[[Any, Mapping[str, Any]], bool]] = {
    "ExpectValuesInSet": lambda value, given: value in given["value_set"],
    "ExpectValuesBetween": lambda value, given: (
        given.get("min_value", -math.inf) <= value <= given.get("max_value", math.inf)
    ),
    "ExpectValuesUnique": lambda value, given: True,
    "ExpectRowCountBetween": lambda value, given: given["min_value"] <= 1,
}


def row_count(name: str, minimum: int, maximum: int | None = None) -> Rule:
    """Require at least `minimum` rows, and at most `maximum`."""
    required = f"exactly {_rows(minimum)}" if maximum == minimum else at_least_rows(minimum)
    if maximum not in (None, minimum):
        required += f" and at most {maximum}"
    kwargs = {"min_value": minimum} | ({} if maximum is None else {"max_value": maximum})
    return Rule(name, "ExpectRowCountBetween", required, kwargs)


def one_of(name: str, column: str, values: Sequence[object], required: str) -> Rule:
    """Require that each present value of the column is one of `values`."""
    return Rule(name, "ExpectValuesInSet", required, {"column": column, "value_set": list(values)})


def bounded(
    name: str, column: str, required: str, minimum: float | None = None, maximum: float | None = None
) -> Rule:
    """Require that each present value of the column lies between the limits, both included."""
    return Rule(name, "ExpectValuesBetween", required, _ends(column, minimum, maximum))


def unbroken(name: str, column: str, required: str, counted: Mapping[str, float] | None = None) -> Rule:
    """Require that the column's numbers of rows in breach are 0; `counted` are the limits of these rows."""
    return Rule(name, "ExpectValuesBetween", required, _ends(column, None, 0), counted or {})


def between(name: str, column: str, minimum: float | None, maximum: float | None, what: str) -> Rule:
    """Return the rule `bounded` for values that are each a `what`, such as "a norm"."""
    return bounded(name, column, in_range(what, minimum, maximum), minimum, maximum)


def mean_between(name: str, column: str, minimum: float | None, maximum: float | None, what: str) -> Rule:
    """Require that the mean of the column's present values lies between the limits, both included."""
    return Rule(name, "ExpectMeanBetween", in_range(what, minimum, maximum), _ends(column, minimum, maximum))


def max_between(name: str, column: str, minimum: float | None, maximum: float | None, what: str) -> Rule:
    """Require that the largest present value of the column lies between the limits, both included."""
    return Rule(name, "ExpectMaxBetween", in_range(what, minimum, maximum), _ends(column, minimum, maximum))


def unique(name: str, column: str) -> Rule:
    """Require that no value of the column occurs twice."""
    return Rule(name, "ExpectValuesUnique", f"each {column} once", {"column": column})


def at_least_rows(minimum: int, setting: str = "") -> str:
    """Return the text of a requirement of rows; `setting` names what sets it."""
    return f"at least {_rows(minimum)}{_set_by(setting)}"


def in_range(what: str, minimum: float | None, maximum: float | None, setting: str = "") -> str:
    """Return the text of a requirement that a `what` is within limits; `setting` names what sets them."""
    if minimum is None:
        text = f"{what} of at most {maximum:g}"
    elif maximum is None:
        text = f"{what} of at least {minimum:g}"
    elif minimum == maximum:
        text = f"{what} of {minimum:g}"
    else:
        text = f"{what} between {minimum:g} and {maximum:g}"
    return text + _set_by(setting)


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _set_by(setting: str) -> str:
    return f" (set by {setting})" if setting else ""


def _ends(column: str, minimum: float | None, maximum: float | None) -> dict[str, Any]:
    # Great Expectations leaves arguments that equal their default (None) out of its JSON, so these are too.
    ends = {"min_value": minimum, "max_value": maximum}
    return {"column": column} | {key: value for key, value in ends.items() if value is not None}
