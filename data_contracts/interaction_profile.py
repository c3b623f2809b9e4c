"""The profile of a client's interactions: what the interactions contract judges, counted where the data are.

Its facts are numbers of rows. The facts of many clients form one table, which Great Expectations validates at
once, and they can be added over clients. Where rows break a rule, the profile also lists the first of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_contracts.validation import LISTED, not_evaluated
from models.kernel.catalog import ItemCatalog

REQUIRED_COLUMNS = ("user_id", "item_id")
OPTIONAL_COLUMNS = ("rating", "timestamp")

Column = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
# Lower and upper limit of a column's values, both included.
Range = tuple[float, float]


@dataclass(frozen=True)
class Finding:
    """The rows of a client that break one rule.

    Attributes:
        column: the column that the rule is about; None if it is about several.
        count: number of these rows.
        rows: numbers of the first 20, counted from 0 in the data's order.
        values: their values; empty if a missing value is what breaks the rule.
    """

    column: str | None
    count: int
    rows: tuple[int, ...] = ()
    values: tuple[str | float, ...] = ()


@dataclass(frozen=True)
class InteractionProfile:
    """The facts about a client's interactions that the interactions contract bounds.

    Attributes:
        rows: number of interactions.
        ranges: the limits of the optional columns that the data have, with which the findings were made.
        findings: rule -> the rows that break it. Which rules there are depends only on the data's columns.
    """

    rows: int
    ranges: Mapping[str, Range]
    findings: Mapping[str, Finding]

    def counts(self) -> dict[str, int]:
        """Return the client's row in the table of facts: `rows`, and for each rule the rows that break it."""
        return {"rows": self.rows} | {
            breaches_column(name): each.count for name, each in self.findings.items()
        }


def breaches_column(rule: str) -> str:
    """Return the column of the table of facts that has the numbers of rows that break the rule."""
    return f"{rule}_breaches"


def profile_interactions(
    columns: Mapping[str, Column], catalog: ItemCatalog, client_id: str, ranges: Mapping[str, Range]
) -> InteractionProfile:
    """Profile a client's interactions.

    Args:
        columns: user_id and item_id (strings), optional rating and timestamp; each (n,).
        catalog: the job's items.
        client_id: the client, for errors.
        ranges: the limits of ratings and of timestamps, by column.

    Raises:
        ContractViolation: a column is missing, or its values cannot be compared.
    """
    absent = [name for name in REQUIRED_COLUMNS if name not in columns]
    if absent:
        raise not_evaluated("interactions", client_id, f"column {', '.join(absent)} is missing")
    users, items = columns["user_id"], columns["item_id"]
    searches = {
        "user_present": _Search("user_id", partial(_missing, users)),
        "item_present": _Search("item_id", partial(_missing, items)),
        "item_known": _Search("item_id", partial(_unknown, items, catalog), (items,)),
        "pair_once": _Search(None, partial(_repeated, users, items), (users, items)),
    }
    there = {name: limits for name, limits in ranges.items() if name in columns}
    for name, limits in there.items():
        values = columns[name]
        searches[f"{name}_present"] = _Search(name, partial(_missing, values))
        searches[f"{name}_in_range"] = _Search(name, partial(_outside, values, limits), (values,))
    findings = {}
    for rule, search in searches.items():
        try:
            findings[rule] = search.finding()
        except (TypeError, ValueError) as error:
            raise not_evaluated("interactions", client_id, f"rule {rule} failed with: {error}") from error
    return InteractionProfile(len(users), there, findings)


class _Search(NamedTuple):
    """How the rows that break a rule are found.

    Attributes:
        column: the column that the rule is about; None if it is about several.
        broken: returns which rows break the rule.
        shown: the columns whose values are shown.
    """

    column: str | None
    broken: Callable[[], Mask]
    shown: tuple[Column, ...] = ()

    def finding(self) -> Finding:
        """Return what was found."""
        rows = np.flatnonzero(self.broken())
        first = tuple(int(row) for row in rows[:LISTED])
        values = tuple(_shown([column[row] for column in self.shown]) for row in first) if self.shown else ()
        return Finding(self.column, len(rows), first, values)


def _missing(values: Column) -> Mask:
    import pandas as pd

    return np.asarray(pd.isna(values))


def _unknown(items: Column, catalog: ItemCatalog) -> Mask:
    """Return which present items are not in the catalogue."""
    return catalog.lacks(items) & ~_missing(items)


def _repeated(users: Column, items: Column) -> Mask:
    """Return which pairs occur several times. A pair with a missing part does not count."""
    import pandas as pd

    (user_codes, _), (item_codes, known) = pd.factorize(users), pd.factorize(items)
    pairs = user_codes.astype(np.int64) * len(known) + item_codes
    complete = (user_codes >= 0) & (item_codes >= 0)
    _, places, counts = np.unique(pairs[complete], return_inverse=True, return_counts=True)
    repeated = np.zeros(len(users), dtype=np.bool_)
    repeated[complete] = counts[places] > 1
    return repeated


def _outside(values: Column, range_: Range) -> Mask:
    """Return which present values lie outside the range."""
    lowest, highest = range_
    present = ~_missing(values)
    outside = np.zeros(len(values), dtype=np.bool_)
    shown = values[present]
    outside[present] = ((shown < lowest) | (shown > highest)).astype(np.bool_)
    return outside


def _shown(values: Sequence[object]) -> str | float:
    """Return the values of a row as JSON has them: a finite number, or text."""
    if len(values) > 1:
        return "/".join(map(str, values))
    (value,) = values
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    return str(value)
