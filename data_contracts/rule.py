"""One rule of a contract as plain data, so that contracts are written and read without Great Expectations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One expectation of a suite.

    Attributes:
        name: stable name within the suite; breaches are known by it.
        kind: name of the expectation's class in `data_contracts.expectations`.
        required: what is required, as a noun phrase, for Data Docs and for the text of a breach.
        kwargs: the expectation's arguments.
    """

    name: str
    kind: str
    required: str
    kwargs: Mapping[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be there for the rule to be evaluated."""
        if "column" in self.kwargs:
            return (self.kwargs["column"],)
        return tuple(self.kwargs.get("column_list", ()))

    @property
    def is_measured(self) -> bool:
        """Whether the rule speaks of a statistic, whose value is worth knowing even where it holds."""
        return self.kind in ("ExpectMeanBetween", "ExpectMaxBetween")


def row_count(name: str, minimum: int, maximum: int | None = None) -> Rule:
    """The table has at least `minimum` rows, and at most `maximum`."""
    if maximum == minimum:
        required = f"exactly {_rows(minimum)}"
    else:
        required = f"at least {_rows(minimum)}" + (f" and at most {maximum}" if maximum is not None else "")
    kwargs = {"min_value": minimum} | ({} if maximum is None else {"max_value": maximum})
    return Rule(name, "ExpectRowCountBetween", required, kwargs)


def present(name: str, column: str) -> Rule:
    """No value of the column is missing."""
    return Rule(name, "ExpectValuesPresent", f"{column} present in every row", {"column": column})


def absent(name: str, column: str, required: str) -> Rule:
    """No row has a value in the column."""
    return Rule(name, "ExpectValuesAbsent", required, {"column": column})


def one_of(name: str, column: str, values: Sequence[object], required: str) -> Rule:
    """Each value of the column that is present is one of `values`."""
    return Rule(name, "ExpectValuesInSet", required, {"column": column, "value_set": list(values)})


def between(name: str, column: str, minimum: float | None, maximum: float | None, what: str) -> Rule:
    """Each value of the column that is present lies between the two, both included."""
    return Rule(name, "ExpectValuesBetween", _range(what, minimum, maximum), _ends(column, minimum, maximum))


def mean_between(name: str, column: str, minimum: float | None, maximum: float | None, what: str) -> Rule:
    """The mean of the column's present values lies between the two, both included."""
    return Rule(name, "ExpectMeanBetween", _range(what, minimum, maximum), _ends(column, minimum, maximum))


def max_between(name: str, column: str, minimum: float | None, maximum: float | None, what: str) -> Rule:
    """The largest of the column's present values lies between the two, both included."""
    return Rule(name, "ExpectMaxBetween", _range(what, minimum, maximum), _ends(column, minimum, maximum))


def unique(name: str, columns: Sequence[str]) -> Rule:
    """No combination of the columns' values occurs twice; rows with a missing value do not count."""
    if len(columns) == 1:
        return Rule(name, "ExpectValuesUnique", f"each {columns[0]} once", {"column": columns[0]})
    kwargs = {"column_list": list(columns), "ignore_row_if": "any_value_is_missing"}
    return Rule(name, "ExpectColumnsUniqueTogether", f"each pair of {' and '.join(columns)} once", kwargs)


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _range(what: str, minimum: float | None, maximum: float | None) -> str:
    if minimum is None:
        return f"{what} of at most {maximum:g}"
    if maximum is None:
        return f"{what} of at least {minimum:g}"
    if minimum == maximum:
        return f"{what} of {minimum:g}"
    return f"{what} between {minimum:g} and {maximum:g}"


def _ends(column: str, minimum: float | None, maximum: float | None) -> dict[str, Any]:
    # GE drops arguments that equal their default (None) from its JSON; dropping them here keeps both alike.
    ends = {"min_value": minimum, "max_value": maximum}
    return {"column": column} | {key: value for key, value in ends.items() if value is not None}
