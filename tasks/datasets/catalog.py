"""Makes an item catalogue from a table: judges each column once, and refuses by name what cannot be used."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from models.errors import InvalidInput
from models.recommenders.items.cells import ColumnRefused, text_of
from models.recommenders.items.column_kinds import (
    NO_SPLIT,
    JudgedColumn,
    judge_column,
)
from tasks.datasets.item_table import ColumnFacts, item_table, judged_kinds, parquet_bytes
from tasks.local.atomic import write_atomically
from tasks.tables.column_names import AS_THEY_ARE, ColumnNames
from tasks.tables.distinct_rows import distinct_rows
from tasks.tables.faults import BadRows, SkippedRows
from tasks.tables.read import read_table
from tasks.tables.table import Table, refuse

ITEM_COLUMNS = ("item_id", "title")
_EXAMPLES = 3
# The row numbers of pandas, which `to_csv` and `to_parquet` write unless told not to.
_ROW_NUMBERS = ("Unnamed: 0", "__index_level_0__")


@dataclass(frozen=True)
class ColumnOptions:
    """What a user decides about the columns of a catalogue.

    Attributes:
        split: column -> the text that separates its labels, or "none" if each cell is one label.
        left_out: columns that are not stored.
        bad_rows: whether rows without an id, or that contradict an earlier one, are refused or left out.
    """

    split: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    bad_rows: BadRows = "refuse"

    def require_known(self, table: Table) -> None:
        """Raise `InvalidInput` unless the options name columns that the table has besides its own.

        Raises:
            InvalidInput: a column is not in the table, is item_id or title, or has two options.
        """
        columns = [str(name) for name in table.columns if name not in ITEM_COLUMNS]
        for option, names in (("--labels-split", self.split), ("--leave-out", self.left_out)):
            for name in names:
                if name not in columns:
                    raise InvalidInput(
                        f"{option} names the column {name!r}, but besides item_id and title the columns of "
                        f"{table.path} are: {', '.join(columns) or 'none'}.",
                        column=name,
                    )
        both = sorted(self.left_out & self.split.keys())
        if both:
            raise InvalidInput(
                f"--labels-split and --leave-out both name the column {both[0]!r}.", column=both[0]
            )


JUDGE_ALL = ColumnOptions()


@dataclass(frozen=True)
class Catalog:
    """A checked item catalogue.

    Attributes:
        items: item_id and title (text), then the used columns: numbers as float64, labels as tuples of texts.
        columns: what was found in each of the table's further columns, also in those that are left out.
        repeats: number of rows that repeat an earlier one and were left out.
        left_out: the rows that break a rule.
    """

    items: pd.DataFrame
    columns: tuple[ColumnFacts, ...] = ()
    repeats: int = 0
    left_out: SkippedRows = field(default_factory=SkippedRows)

    def with_items(self, items: pd.DataFrame) -> Catalog:
        """Return the catalogue with further items behind its own, which have no values."""
        added = len(items) - len(self.items)
        unused = ("left out", "row numbers")
        columns = tuple(
            each if each.kind in unused else replace(each, missing=each.missing + added)
            for each in self.columns
        )
        return replace(self, items=items, columns=columns)

    def notes(self, path: object) -> list[str]:
        """Return what was left out of the rows of the file at `path`, one sentence each."""
        found = []
        if self.repeats:
            found.append(f"Rows of {path} that repeat an earlier one were left out: {self.repeats:,}.")
        if self.left_out.count:
            found.append(self.left_out.sentence(path, len(self.items) + self.repeats))
        return found


def check_catalog(table: Table, options: ColumnOptions = JUDGE_ALL) -> Catalog:
    """Return the catalogue in a table with item_id, and optionally title and further columns, in its order.

    A row that repeats an earlier one counts once. The item's id replaces a title that is missing or empty.
    The columns of an item table were judged before, and stay as they are unless an option names them.

    Raises:
        InvalidInput: item_id is missing or empty, two rows of an item contradict each other, a column cannot
            be used, or the options name a column that does not exist.
    """
    table.require_columns(["item_id"])
    options.require_known(table)
    compared = [name for name in table.columns if name not in {"item_id", *options.left_out, *_ROW_NUMBERS}]
    distinct = distinct_rows(table, "item_id", compared, options.bad_rows)
    table, ids = distinct.table, distinct.ids
    columns: dict[str, Any] = {"item_id": ids, "title": _titles(table, ids)}
    facts, kinds = [], judged_kinds(table.data)
    for name in table.columns:
        if name in ITEM_COLUMNS:
            continue
        if name in options.left_out or name in _ROW_NUMBERS:
            facts.append(ColumnFacts(name, "left out" if name in options.left_out else "row numbers"))
            continue
        split = options.split.get(name)
        is_stored = split is None and name in kinds
        judged = _stored(table, name, kinds[name]) if is_stored else _judged(table, name, split)
        facts.append(_facts(name, judged))
        if judged.numbers is not None:
            columns[name] = judged.numbers
        elif judged.labels is not None:
            columns[name] = pd.Series(list(judged.labels), dtype=object)
    return Catalog(pd.DataFrame(columns), tuple(facts), distinct.repeats, distinct.left_out)


def write_catalog(
    items: Path, out: Path, options: ColumnOptions = JUDGE_ALL, names: ColumnNames = AS_THEY_ARE
) -> Catalog:
    """Write the item table of a file to `out`, as a coordinator of silos on other machines needs it.

    Args:
        items: CSV, TSV or Parquet with item_id, and optionally title and further columns.
        out: a Parquet file; replaced if it is there.
        options: decisions about the columns; the others are judged.
        names: what the file calls item_id and title.

    Raises:
        InvalidInput: as `check_catalog`, or the name of `out` does not end with .parquet.
    """
    if out.suffix != ".parquet":
        raise InvalidInput(f"{out} is a Parquet file, so its name must end with .parquet.", path=out)
    skipped = SkippedRows() if options.bad_rows == "skip" else None
    table = read_table(items, ["item_id"], names=names, own=ITEM_COLUMNS, skipped=skipped)
    names.require_found([(items, table.stored, ITEM_COLUMNS)])
    catalog = check_catalog(table, options)
    if skipped:
        catalog.left_out.add(skipped.count, skipped.first)
    write_atomically(out, parquet_bytes(item_table(catalog.items)), durable=False)
    return catalog


def _titles(table: Table, ids: pd.Series[str]) -> pd.Series[str]:
    if "title" not in table.columns:
        return ids
    titles = []
    for position, cell in enumerate(table.data["title"].to_pylist()):
        try:
            titles.append(text_of(cell, position))
        except ColumnRefused as error:
            table.refuse(position, f"the column 'title' {error.rule}")
    given = pd.Series(titles, dtype="str")
    return given.where(given.notna(), ids)


def _stored(table: Table, name: str, kind: str) -> JudgedColumn:
    cells = table.data[name].to_pylist()
    missing = sum(not cell and cell != 0 for cell in cells)
    if kind == "numbers":
        return JudgedColumn("numbers", missing, numbers=np.array(cells, dtype=np.float64))
    return JudgedColumn("labels", missing, labels=tuple(tuple(cell or ()) for cell in cells))


def _judged(table: Table, name: str, split: str | None) -> JudgedColumn:
    cells = _cells(table.data[name])
    try:
        return judge_column(cells, split)
    except ColumnRefused as error:
        rule = f"the column {name!r} {error.rule}"
        next_step = (
            f"Correct it, or leave the column out: --leave-out {shlex.quote(name)} of 'fedrec data partition'"
            " or 'fedrec data items'."
        )
        if isinstance(cells[error.position or 0], str) and split is None:
            option = shlex.quote(f"{name}={NO_SPLIT}")
            next_step += f" To take its cells as labels: --labels-split {option}."
        if error.position is None:
            refuse(table.path, rule, next_step=next_step, column=name)
        table.refuse(error.position, rule, next_step=next_step, option=("--leave-out", name))


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column; short floats are those of numpy, which know how they are written."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        present = column.is_valid().to_pylist()
        values = column.to_numpy()
        return [value if there else None for value, there in zip(values, present, strict=True)]
    return list(column.to_pylist())


def _facts(name: str, judged: JudgedColumn) -> ColumnFacts:
    if judged.numbers is not None:
        least, greatest = float(np.nanmin(judged.numbers)), float(np.nanmax(judged.numbers))
        return ColumnFacts(name, judged.kind, judged.missing, least=least, greatest=greatest)
    if judged.labels is not None:
        counts = pd.Series([label for own in judged.labels for label in own]).value_counts(sort=False)
        frequent = sorted(counts.index, key=lambda label: (-int(counts[label]), label))[:_EXAMPLES]
        return ColumnFacts(
            name,
            judged.kind,
            judged.missing,
            judged.separator,
            labels=len(counts),
            examples=tuple(frequent),
            unsplit=judged.unsplit,
        )
    return ColumnFacts(name, judged.kind, judged.missing)
