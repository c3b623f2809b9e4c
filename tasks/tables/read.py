"""Opens a file of a user by its extension, and reads it whole or in batches by the same rules."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from tasks.tables.delimited import DelimitedFile
from tasks.tables.dialect import DIALECTS, Opened
from tasks.tables.parquet import ParquetFile
from tasks.tables.table import Table, refuse, require_columns

_PARQUET = (".parquet", ".pq")
_KINDS = ", ".join([*DIALECTS, *_PARQUET])


def read_table(path: Path, needed: Sequence[str] = ()) -> Table:
    """Read a file; its extension decides its format.

    Text files are UTF-8 with a header in row 1. Values of text files stay text, so "007" remains "007".

    Args:
        path: the file.
        needed: columns that it must have; what the header lacks comes before what is wrong with a row.

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
    file = _opened(path, lambda: pa.BufferReader(content), len(content))
    require_columns(path, file.names, needed, file.header_row)
    batches = [batch for batch in file.batches(file.names) if batch.num_rows]
    if not batches:
        _refuse_no_rows(path, file)
    return Table(
        path,
        pa.Table.from_batches(batches),
        hashlib.sha256(content).hexdigest(),
        file.number,
        file.header_row,
    )


@dataclass(frozen=True)
class TableStream:
    """A file that is read in batches, by the rules of `read_table`, in memory that does not grow with it."""

    path: Path
    _file: DelimitedFile | ParquetFile
    _size: int

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return self._file.names

    @property
    def most_rows(self) -> int:
        """How many rows there may be; usually there are fewer in a text file."""
        return self._file.most_rows(self._size)

    def require_columns(self, names: Sequence[str]) -> None:
        """Raise `InvalidInput` unless the file has these columns."""
        require_columns(self.path, self.columns, names, self._file.header_row)

    def batches(self, columns: Sequence[str]) -> Iterator[Table]:
        """Yield the rows of these columns, in order.

        Raises:
            InvalidInput: the file cannot be read or parsed, or has no rows.
        """
        start = 0
        try:
            for batch in self._file.batches(columns):
                number = _shifted(self._file.number, start)
                data = pa.Table.from_batches([batch])
                yield Table(self.path, data, number=number, header_row=self._file.header_row)
                start += batch.num_rows
        except OSError as error:
            _refuse_unreadable(self.path, error)
        if not start:
            _refuse_no_rows(self.path, self._file)


def stream_table(path: Path) -> TableStream:
    """Open a file whose rows are read in batches; its extension decides its format.

    Raises:
        InvalidInput: as `read_table`, but for rows, which are read later.
    """
    _require_kind(path)
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
        return TableStream(path, _opened(path, lambda: pa.OSFile(os.fsencode(path)), size), size)
    except OSError as error:
        _refuse_unreadable(path, error)


def _require_kind(path: Path) -> None:
    kind = path.suffix.lower()
    if kind not in DIALECTS and kind not in _PARQUET:
        refuse(path, f"the extension {kind!r} is not known; known are {_KINDS}")


def _opened(path: Path, open_: Opened, size: int) -> DelimitedFile | ParquetFile:
    if not size:
        refuse(path, "the file is empty (0 bytes)")
    dialect = DIALECTS.get(path.suffix.lower())
    file = DelimitedFile(path, open_, dialect) if dialect else ParquetFile(path, open_)
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
