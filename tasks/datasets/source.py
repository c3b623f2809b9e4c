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
from tasks.datasets.interaction_tables import Interactions, check_interactions
from tasks.datasets.sql_source import SqlSource, read_query
from tasks.tables.read import read_table
from tasks.tables.table import Table, first, refuse


@dataclass(frozen=True)
class FolderSource:
    """The files of one folder, all in the same format: CSV, TSV or Parquet.

    They are read in the order of their names (as text, so part-10 comes before part-9). Names that begin with
    a dot or an underscore are skipped: programs that write such folders use them for their own files.
    """

    folder: Path


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
        return _read_folder(source.folder)
    table = read_query(source)
    # Checked before sorting, so that an error gives the row's number in the query's result.
    return SourceRows(_in_order(check_interactions(table)), {"query": table.sha256})


def _read_folder(folder: Path) -> SourceRows:
    parts: list[_Part] = []
    sources: dict[str, str] = {}
    for path in _files(folder):
        table = read_table(path)
        checked = check_interactions(table)
        # `checked` holds the rows, so those of the table are dropped to save memory.
        part = _Part(table.without_rows(), checked)
        _require_same_columns(part, parts)
        parts.append(part)
        sources[path.name] = table.sha256
    return SourceRows(_joined(parts), sources)


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
    """Return the parts' rows one after another.

    Raises:
        InvalidInput: a pair of user and item occurs in two files.
    """
    every = [part.interactions for part in parts]
    user_codes, users = _common([each.users for each in every], [each.user_codes for each in every])
    item_codes, items = _common([each.items for each in every], [each.item_codes for each in every])
    repeated = pd.Series(user_codes * len(items) + item_codes).duplicated()
    if repeated.any():
        at = first(repeated)
        before = first((user_codes == user_codes[at]) & (item_codes == item_codes[at]))
        (part, row), (other, other_row) = _place(parts, at), _place(parts, before)
        pair = f"user {users[user_codes[at]]!r} and item {items[item_codes[at]]!r}"
        place = f"row {other_row} of {Path(other.path).name}"
        refuse(part.path, f"{pair} already occur together in {place}; each pair may occur once", row=row)
    return Interactions(
        users=users,
        items=items,
        user_codes=user_codes,
        item_codes=item_codes,
        ratings=_concatenated([each.ratings for each in every]),
        timestamps=_concatenated([each.timestamps for each in every]),
    )


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
    """Return the rows sorted by user, time and item.

    A database may return the same rows in any order, and only their order distinguishes rows of one user at
    one time. After sorting, equal rows give equal bytes.
    """
    keys = [_ranks(rows.items)[rows.item_codes], _ranks(rows.users)[rows.user_codes]]
    if rows.timestamps is not None:
        keys.insert(1, rows.timestamps)
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
