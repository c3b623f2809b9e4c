"""Opens a file of a user by its extension, and reads it whole or in batches by the same rules."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from tasks.tables.column_names import AS_THEY_ARE, ColumnNames
from tasks.tables.delimited import DelimitedFile
from tasks.tables.dialect import DIALECTS, Opened
from tasks.tables.faults import SkippedRows
from tasks.tables.parquet import ParquetFile
from tasks.tables.table import Table, refuse, require_columns

_PARQUET = (".parquet", ".pq")
_KINDS = ", ".join([*DIALECTS, *_PARQUET])


def read_table(
    path: Path,
    needed: Sequence[str] = (),
    *,
    names: ColumnNames | None = None,
    own: Sequence[str] = (),
    skipped: SkippedRows | None = None,
) -> Table:
    """Read a file; its extension decides its format.

    Text files are UTF-8 with a header in row 1. Values of text files stay text, so "007" remains "007".

    Args:
        path: the file.
        needed: columns that it must have; what the header lacks comes before what is wrong with a row.
        names: what the file calls its columns.
        own: the names that these may give to columns of this file; else an error advises to rename them.
        skipped: gets the rows with another number of values than the header; None refuses them.

    Raises:
        InvalidInput: the file is missing, of an unknown format, empty, not UTF-8, ragged or without rows, it
            lacks a column, or two of its columns have one name.
    """
    _require_kind(path)
    try:
        # Read once, so that the rows are those of the digest.
        content = path.read_bytes()
    except OSError as error:
        _refuse_unreadable(path, error)
    file = _opened(path, lambda: pa.BufferReader(content), len(content), skips_ragged=skipped is not None)
    stored = (names or AS_THEY_ARE).stored(path, file.names, own)
    require_columns(path, list(stored), needed, file.header_row, own if names else ())
    batches = [batch for batch in file.batches(list(stored.values())) if batch.num_rows]
    if skipped is not None and isinstance(file, DelimitedFile):
        skipped.add(*file.left_out(SkippedRows.EXAMPLES))
    if not batches:
        _refuse_no_rows(path, file)
    data = pa.Table.from_batches(batches)
    return Table(
        path,
        # Judged columns are known by the metadata.
        data.rename_columns(list(stored)).replace_schema_metadata(data.schema.metadata),
        hashlib.sha256(content).hexdigest(),
        file.number,
        file.header_row,
        stored=tuple(file.names),
    )


@dataclass(frozen=True)
class TableStream:
    """A file that is read in batches, by the rules of `read_table`, in memory that does not grow with it."""

    path: Path
    _file: DelimitedFile | ParquetFile
    _size: int
    _stored: Mapping[str, str]
    _own: Sequence[str]

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._stored)

    @property
    def stored(self) -> list[str]:
        """The names that the columns have in the file."""
        return self._file.names

    @property
    def renamed(self) -> dict[str, str]:
        """The name in the file -> the name of fedrec, of each column that has another one."""
        return {stored: name for name, stored in self._stored.items() if stored != name}

    @property
    def most_rows(self) -> int:
        """How many rows there may be; usually there are fewer in a text file."""
        return self._file.most_rows(self._size)

    def require_columns(self, names: Sequence[str]) -> None:
        """Raise `InvalidInput` unless the file has these columns."""
        require_columns(self.path, self.columns, names, self._file.header_row, self._own)

    def batches(self, columns: Sequence[str]) -> Iterator[Table]:
        """Yield the rows of these columns, in order.

        Raises:
            InvalidInput: the file cannot be read or parsed, or has no rows.
        """
        start = 0
        try:
            for batch in self._file.batches([self._stored[name] for name in columns]):
                number = _shifted(self._file.number, start)
                data = pa.Table.from_batches([batch]).rename_columns(list(columns))
                yield Table(self.path, data, number=number, header_row=self._file.header_row)
                start += batch.num_rows
        except OSError as error:
            _refuse_unreadable(self.path, error)
        if not start:
            _refuse_no_rows(self.path, self._file)


def stream_table(path: Path, names: ColumnNames | None = None, own: Sequence[str] = ()) -> TableStream:
    """Open a file whose rows are read in batches; its extension decides its format.

    Args:
        path: the file.
        names: what the file calls its columns.
        own: the names that these may give to columns of this file; else an error advises to rename them.

    Raises:
        InvalidInput: as `read_table`, but for rows, which are read later.
    """
    _require_kind(path)
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
        file = _opened(path, lambda: pa.OSFile(os.fsencode(path)), size)
        stored = (names or AS_THEY_ARE).stored(path, file.names, own)
        return TableStream(path, file, size, stored, own if names else ())
    except OSError as error:
        _refuse_unreadable(path, error)


def _require_kind(path: Path) -> None:
    kind = path.suffix.lower()
    if kind not in DIALECTS and kind not in _PARQUET:
        refuse(path, f"the extension {kind!r} is not known; known are {_KINDS}")


def _opened(
    path: Path, open_: Opened, size: int, *, skips_ragged: bool = False
) -> DelimitedFile | ParquetFile:
    if not size:
        refuse(path, "the file is empty (0 bytes)")
    dialect = DIALECTS.get(path.suffix.lower())
    if dialect:
        file: DelimitedFile | ParquetFile = DelimitedFile(path, open_, dialect, skips_ragged=skips_ragged)
    else:
        file = ParquetFile(path, open_)
    require_columns(path, file.names, [], file.header_row)
    return file


def _refuse_unreadable(path: Path, error: OSError) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        refuse(path, "the file does not exist")
    refuse(path, f"the file cannot be read ({os.strerror(error.errno) if error.errno else error})")


def _refuse_no_rows(path: Path, file: DelimitedFile | ParquetFile) -> NoReturn:
    refuse(path, "the file has no rows" + (" below its header" if file.header_row else ""))


def _shifted(number: Callable[[int], int], start: int) -> Callable[[int], int]:
    return lambda position: number(start + position)
