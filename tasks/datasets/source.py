"""Reads a silo's interactions from their source: a folder of files or a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.errors import InvalidInput
from tasks.datasets.interaction_tables import Interactions, check_interactions, require_no_repeats
from tasks.datasets.repeats import Repeats, merged_repeats
from tasks.datasets.sql_source import SqlSource, read_query
from tasks.tables.read import read_table
from tasks.tables.table import Table, first, refuse

_MERGE_REPEATS = (
    "Set source.repeats to latest or first to keep one of them, or to sum to add up their ratings."
)


@dataclass(frozen=True)
class FolderSource:
    """The files of one folder, all in the same format: CSV, TSV or Parquet.

    They are read in the order of their names (as text, so part-10 comes before part-9). Names that begin with
    a dot or an underscore are skipped: programs that write such folders use them for their own files.

    Attributes:
        folder: the folder.
        repeats: what becomes of repeated pairs of user and item; None refuses them.
    """

    folder: Path
    repeats: Repeats | None = None


Source = FolderSource | SqlSource


@dataclass(frozen=True)
class SourceRows:
    """A silo's interactions, checked row by row.

    Attributes:
        interactions: in the order of the files and their rows; those of a database sorted by user, time and
            item.
        sources: SHA-256 of each file by its name, or of the query.
    """

    interactions: Interactions
    sources: dict[str, str]


@dataclass(frozen=True)
class _Part:
    """One file of a folder, without its rows."""

    table: Table
    interactions: Interactions


def read_source(source: Source) -> SourceRows:
    """Return the interactions of a source.

    Raises:
        InvalidInput: there are no rows, or a row breaks a rule; the message names file, row and rule.
        SourceUnavailable: the database cannot be reached or refuses the account.
    """
    if isinstance(source, FolderSource):
        return _read_folder(source.folder, source.repeats)
    table = read_query(source)
    # Checked before sorting, so that an error gives the row's number in the query's result.
    checked = check_interactions(table)
    if source.repeats is None:
        require_no_repeats(table, checked, _MERGE_REPEATS)
    return SourceRows(_settled(_in_order(checked), source.repeats), {"query": table.sha256})


def _settled(rows: Interactions, repeats: Repeats | None) -> Interactions:
    return merged_repeats(rows, repeats) if repeats else rows


def _read_folder(folder: Path, repeats: Repeats | None) -> SourceRows:
    parts: list[_Part] = []
    sources: dict[str, str] = {}
    for path in _files(folder):
        table = read_table(path, ["user_id", "item_id"])
        checked = check_interactions(table)
        if repeats is None:
            require_no_repeats(table, checked, _MERGE_REPEATS)
        # `checked` holds the rows, so those of the table are dropped to save memory.
        part = _Part(table.without_rows(), checked)
        _require_same_columns(part, parts)
        parts.append(part)
        sources[path.name] = table.sha256
    rows = _joined(parts)
    if repeats is None:
        _require_no_repeats_between(parts, rows)
    return SourceRows(_settled(rows, repeats), sources)


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    except OSError as error:
        raise InvalidInput(
            f"The folder {folder} cannot be read: {error.strerror}.",
            next_step="Correct source.folder in the silo's settings.",
            path=folder,
        ) from error
    if not found:
        refuse(folder, "the folder holds no files")
    for path in found:
        if path.is_dir():
            refuse(path, "only files directly in the source's folder are read, but this is a folder")
        if path.suffix.lower() != found[0].suffix.lower():
            refuse(path, f"all files of a source have one format, but {found[0].name} has another")
    return found


def _require_same_columns(part: _Part, others: Sequence[_Part]) -> None:
    """Raise `InvalidInput` unless `part` has the same optional columns as the other files."""
    for other in others[:1]:
        for column in ("ratings", "timestamps"):
            in_part, in_other = (getattr(each.interactions, column) is not None for each in (part, other))
            if in_part != in_other:
                name, file = column.removesuffix("s"), Path(other.table.path).name
                rule = (
                    f"has no column {name!r}, but {file} has"
                    if in_other
                    else f"has {name!r}, but {file} has not"
                )
                refuse(part.table.path, f"all files of a source have the same columns; this one {rule}")


def _joined(parts: Sequence[_Part]) -> Interactions:
    """Return the parts' rows one after another."""
    every = [part.interactions for part in parts]
    user_codes, users = _common([each.users for each in every], [each.user_codes for each in every])
    item_codes, items = _common([each.items for each in every], [each.item_codes for each in every])
    return Interactions(
        users=users,
        items=items,
        user_codes=user_codes,
        item_codes=item_codes,
        ratings=_concatenated([each.ratings for each in every]),
        timestamps=_concatenated([each.timestamps for each in every]),
    )


def _require_no_repeats_between(parts: Sequence[_Part], rows: Interactions) -> None:
    """Raise `InvalidInput` if a pair of user and item occurs in two files."""
    users, items = rows.user_codes, rows.item_codes
    repeated = pd.Series(users * len(rows.items) + items).duplicated()
    if repeated.any():
        at = first(repeated)
        before = first((users == users[at]) & (items == items[at]))
        (part, row), (other, other_row) = _place(parts, at), _place(parts, before)
        pair = f"user {rows.users[users[at]]!r} and item {rows.items[items[at]]!r}"
        place = f"row {other_row} of {Path(other.path).name}"
        rule = f"{pair} already occur together in {place}; each pair may occur once"
        refuse(part.path, rule, row=row, next_step=_MERGE_REPEATS)


def _common(
    ids: Sequence[pd.Index[str]], codes: Sequence[npt.NDArray[np.int64]]
) -> tuple[npt.NDArray[np.int64], pd.Index[str]]:
    """Return codes into one index of all distinct ids, and that index in order of appearance."""
    common, distinct = pd.factorize(ids[0].append(list(ids[1:])))
    starts = np.cumsum([0, *(len(each) for each in ids)])
    parts = [
        common[start : start + len(names)][own] for start, names, own in zip(starts, ids, codes, strict=False)
    ]
    return np.concatenate(parts), distinct


def _place(parts: Sequence[_Part], position: int) -> tuple[Table, int]:
    """Return the file that a row of the joined interactions comes from, and the row's number in that file."""
    for part in parts:
        size = len(part.interactions.user_codes)
        if position < size:
            return part.table, part.table.row(position)
        position -= size
    raise IndexError(position)


def _concatenated(columns: Sequence[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
    present = [column for column in columns if column is not None]
    return np.concatenate(present) if present else None


def _in_order(rows: Interactions) -> Interactions:
    """Return the rows sorted by user, time and item, and repeated ones by rating.

    A database may return the same rows in any order, and only their order distinguishes rows of one user at
    one time. After sorting, equal rows give equal bytes.
    """
    keys: list[npt.NDArray[Any]] = [_ranks(rows.items)[rows.item_codes], _ranks(rows.users)[rows.user_codes]]
    if rows.timestamps is not None:
        keys.insert(1, rows.timestamps)
    if rows.ratings is not None:
        keys.insert(0, rows.ratings)
    order = np.lexsort(keys)
    return Interactions(
        users=rows.users,
        items=rows.items,
        user_codes=rows.user_codes[order],
        item_codes=rows.item_codes[order],
        ratings=None if rows.ratings is None else rows.ratings[order],
        timestamps=None if rows.timestamps is None else rows.timestamps[order],
    )


def _ranks(ids: pd.Index[str]) -> npt.NDArray[np.int64]:
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[ids.argsort()] = np.arange(len(ids))
    return ranks
