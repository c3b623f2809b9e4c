"""Leaves rows out: those that break a rule, and those that repeat an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.tables.faults import BadRows, Broken, Faults, Report, SkippedRows
from tasks.tables.table import Table, refuse


@dataclass(frozen=True)
class Distinct:
    """The rows of a table with each id once.

    Attributes:
        table: these rows.
        ids: (n,) their ids.
        repeats: number of rows that were left out because they repeat an earlier one.
        left_out: the rows that break a rule.
    """

    table: Table
    ids: pd.Series[str]
    repeats: int
    left_out: SkippedRows


def distinct_rows(table: Table, name: str, compared: Sequence[str], bad_rows: BadRows = "refuse") -> Distinct:
    """Return the rows with each id once: rows that repeat an earlier one count once.

    Args:
        table: with a column of ids.
        name: of that column.
        compared: the columns whose values must be the same in the rows of an id.
        bad_rows: whether a row without an id, or with other values than an earlier one of its id, is refused
            or left out.

    Raises:
        InvalidInput: the column is missing, an id is empty, or two rows of an id contradict each other.
    """
    table.require_columns([name])
    left_out = SkippedRows()
    if bad_rows == "skip":
        faults = Faults()
        replace(table, faults=faults).ids(name)
        table, left_out = without(table, faults)
    ids = table.ids(name)
    repeated = ids.duplicated().to_numpy()
    if not repeated.any():
        return Distinct(table, ids, 0, left_out)
    codes, _ = pd.factorize(ids)
    _, starts = np.unique(codes, return_index=True)
    places = np.flatnonzero(repeated)
    befores = starts[codes[places]]
    differing = _differing(table, compared, places, befores)
    faults = Faults()
    report = Report(table.refuse, None if bad_rows == "refuse" else faults)
    contradicts = np.zeros(len(ids), dtype=bool)
    contradicts[places[[bool(names) for names in differing]]] = True

    def broken(at: int) -> Broken:
        place = int(np.searchsorted(places, at))
        before, others = int(befores[place]), differing[place]
        values = ", ".join(
            f"{each} {table.shown(each, at)}, not {table.shown(each, before)}" for each in others
        )
        rule = f"{name} {ids.iloc[at]!r} already occurs in row {table.row(before)}, but here with {values}"
        if report.faults is None:
            rule += f" ({int(contradicts.sum()):,} of {len(ids):,} rows contradict an earlier one)"
        return Broken(rule, f"Keep one row of each {name}.")

    report.rows(contradicts, broken)
    _, contradicted = without(table, faults)
    left_out.add(contradicted.count, contradicted.first)
    kept = table.kept(~repeated)
    return Distinct(
        kept, ids[~repeated].reset_index(drop=True), int((repeated & ~contradicts).sum()), left_out
    )


def without(table: Table, faults: Faults) -> tuple[Table, SkippedRows]:
    """Return the table without the rows that break a rule, and these.

    Raises:
        InvalidInput: no row is left.
    """
    left_out = SkippedRows()
    if not faults.wrong:
        return table, left_out
    left_out.add(len(faults.wrong), [(table.row(at), rule) for at, rule in faults.first()])
    mask = np.ones(len(table.data), dtype=bool)
    mask[list(faults.wrong)] = False
    if not mask.any():
        refuse(
            table.path, f"every row breaks a rule, such as row {left_out.first[0][0]}: {left_out.first[0][1]}"
        )
    return table.kept(mask), left_out


def _differing(
    table: Table, columns: Sequence[str], rows: npt.NDArray[np.int64], others: npt.NDArray[np.int64]
) -> list[list[str]]:
    """Return the names of the columns in which each of the rows differs from the other one."""
    found: list[list[str]] = [[] for _ in rows]
    for name in columns:
        column = table.data[name]
        pairs = zip(column.take(rows).to_pylist(), column.take(others).to_pylist(), strict=True)
        for names, (value, other) in zip(found, pairs, strict=True):
            if _comparable(value) != _comparable(other):
                names.append(name)
    return found


def _comparable(value: object) -> object:
    """Return a value so that equal ones are equal: text without blanks at its ends, and NaN as missing."""
    if isinstance(value, str):
        return value.strip() or None
    return None if value != value else value  # noqa: PLR0124 - NaN alone differs from itself
