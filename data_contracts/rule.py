"""A rule of a contract as plain data, so writing and reading contracts needs no Great Expectations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """An expectation of a suite.

    Attributes:
        name: stable name within the suite, by which breaches are identified.
        kind: key of the expectation's class in `data_contracts.expectations.EXPECTATIONS`.
        required: the requirement as a noun phrase, for Data Docs and for the text of a breach.
        kwargs: arguments of the expectation.
    """

    name: str
    kind: str
    required: str
    kwargs: Mapping[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that the rule needs."""
        if "column" in self.kwargs:
            return (self.kwargs["column"],)
        return tuple(self.kwargs.get("column_list", ()))

    @property
    def is_measured(self) -> bool:
        """Return whether the rule is about a statistic, whose value is reported even if the rule holds."""
        return self.kind in ("ExpectMeanBetween", "ExpectMaxBetween")


def row_count(name: str, minimum: int, maximum: int | None = None, setting: str = "") -> Rule:
    """Require at least `minimum` rows, and at most `maximum`; `setting` names what sets these limits."""
    if maximum == minimum:
        required = f"exactly {_rows(minimum)}"
    else:
        required = f"at least {_rows(minimum)}" + (f" and at most {maximum}" if maximum is not None else "")
    kwargs = {"min_value": minimum} | ({} if maximum is None else {"max_value": maximum})
    return Rule(name, "ExpectRowCountBetween", required + _set_by(setting), kwargs)


def present(name: str, column: str) -> Rule:
    """Require that no value of the column is missing."""
    return Rule(name, "ExpectValuesPresent", f"{column} present in every row", {"column": column})


def absent(name: str, column: str, required: str) -> Rule:
    """Require that all values of the column are missing."""
    return Rule(name, "ExpectValuesAbsent", required, {"column": column})


def one_of(name: str, column: str, values: Sequence[object], required: str) -> Rule:
    """Require that each present value of the column is one of `values`."""
    return Rule(name, "ExpectValuesInSet", required, {"column": column, "value_set": list(values)})


def between(
    name: str, column: str, minimum: float | None, maximum: float | None, what: str, setting: str = ""
) -> Rule:
    """Require that each present value of the column lies between the limits, both included.

    `setting` names what sets these limits.
    """
    required = _range(what, minimum, maximum) + _set_by(setting)
    return Rule(name, "ExpectValuesBetween", required, _ends(column, minimum, maximum))


def mean_between(name: str, column: str, minimum: float | None, maximum: float | None, what: str) -> Rule:
    """Require that the mean of the column's present values lies between the limits, both included."""
    return Rule(name, "ExpectMeanBetween", _range(what, minimum, maximum), _ends(column, minimum, maximum))


def max_between(name: str, column: str, minimum: float | None, maximum: float | None, what: str) -> Rule:
    """Require that the largest present value of the column lies between the limits, both included."""
    return Rule(name, "ExpectMaxBetween", _range(what, minimum, maximum), _ends(column, minimum, maximum))


def unique(name: str, columns: Sequence[str]) -> Rule:
    """Require that the columns' values never occur twice together. Rows with missing values are ignored."""
    if len(columns) == 1:
        return Rule(name, "ExpectValuesUnique", f"each {columns[0]} once", {"column": columns[0]})
    kwargs = {"column_list": list(columns), "ignore_row_if": "any_value_is_missing"}
    return Rule(name, "ExpectColumnsUniqueTogether", f"each pair of {' and '.join(columns)} once", kwargs)


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _set_by(setting: str) -> str:
    return f" (set by {setting})" if setting else ""


def _range(what: str, minimum: float | None, maximum: float | None) -> str:
    if minimum is None:
        return f"{what} of at most {maximum:g}"
    if maximum is None:
        return f"{what} of at least {minimum:g}"
    if minimum == maximum:
        return f"{what} of {minimum:g}"
    return f"{what} between {minimum:g} and {maximum:g}"


def _ends(column: str, minimum: float | None, maximum: float | None) -> dict[str, Any]:
    # Great Expectations leaves arguments that equal their default (None) out of its JSON, so these are too.
    ends = {"min_value": minimum, "max_value": maximum}
    return {"column": column} | {key: value for key, value in ends.items() if value is not None}
