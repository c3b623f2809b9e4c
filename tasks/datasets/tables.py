"""Reads a CSV, TSV or Parquet file as a table of text, or reports which row breaks which rule."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from models.errors import InvalidInput

# RecBole's "atomic files" are tab-separated and never quoted; their header has "name:type".
_ATOMIC = (".inter", ".item", ".user")
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t", ".user": "\t"}
_PARQUET = (".parquet", ".pq")
_KINDS = ", ".join([*_DELIMITERS, *_PARQUET])


@dataclass(frozen=True)
class Table:
    """A file's rows.

    Attributes:
        path: the file, or a description of where the rows come from.
        sha256: of the file's bytes.
        frame: its rows in order; every column is text when it came from a text file.
        first_row: the number, in the file, of the first row of `frame`: 2 below a header, else 1.
    """

    path: Path | str
    sha256: str
    frame: pd.DataFrame
    first_row: int

    def row(self, position: int) -> int:
        """Return the number, in the file and from 1, of the row at this position of `frame`."""
        return int(position) + self.first_row

    def refuse(self, position: int, rule: str, next_step: str = "") -> NoReturn:
        """Raise `InvalidInput` for the row at this position of `frame`."""
        refuse(self.path, rule, row=self.row(position), next_step=next_step)

    def require_columns(self, names: Sequence[str]) -> None:
        """Raise `InvalidInput` unless the table has these columns.

        Raises:
            InvalidInput: a column is missing.
        """
        missing = [name for name in names if name not in self.frame.columns]
        if missing:
            found = ", ".join(map(str, self.frame.columns))
            rule = f"the column {missing[0]!r} is missing; the columns are: {found}"
            refuse(self.path, rule, row=None if self.first_row == 1 else 1)

    def text(self, name: str) -> pd.Series[str]:
        """Return a column of ids or names as text.

        Raises:
            InvalidInput: a value is empty, holds a line break, or is a number that is not whole.
        """
        column = self.frame[name]
        if pd.api.types.is_float_dtype(column.dtype):
            fractions = column.notna() & (column % 1 != 0)
            if fractions.any():
                at = first(fractions)
                self.refuse(at, f"{name} {column.iloc[at]} is neither text nor a whole number")
            column = column.astype("Int64")
        values = column.astype("str")
        empty = column.isna() | (values.str.strip() == "")
        if empty.any():
            self.refuse(first(empty), f"{name} is empty")
        broken = values.str.contains("\n", regex=False)
        if broken.any():
            # Most often an unclosed quotation mark, which makes the parser read the next rows as one value.
            self.refuse(first(broken), f"{name} holds a line break")
        return values


def refuse(
    path: Path | str, rule: str, *, row: int | None = None, next_step: str = "", **facts: Any
) -> NoReturn:
    """Raise `InvalidInput` with the file, the row (from 1) and the rule that it breaks."""
    where = str(path) if row is None else f"{path}, row {row}"
    raise InvalidInput(f"{where}: {rule}.", next_step=next_step, file=path, row=row, rule=rule, **facts)


def first(mask: pd.Series[bool] | npt.NDArray[np.bool_]) -> int:
    """Return the position of the first true value."""
    return int(np.argmax(np.asarray(mask, dtype=bool)))


def one_line(error: Exception) -> str:
    """Return the error's message on one line, cut after 200 characters."""
    return " ".join(str(error).split())[:200]


def read_table(path: Path) -> Table:
    """Read a file; its extension decides its format.

    Text files are UTF-8 with a header in row 1. Values of text files stay text, so "007" remains "007".

    Raises:
        InvalidInput: the file is missing, of an unknown format, empty, not UTF-8, ragged or without rows.
    """
    kind = path.suffix.lower()
    if kind not in _DELIMITERS and kind not in _PARQUET:
        refuse(path, f"the extension {kind!r} is not known; known are {_KINDS}")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        refuse(path, "the file does not exist")
    except OSError as error:
        refuse(path, f"the file cannot be read ({error.strerror})")
    if not data:
        refuse(path, "the file is empty (0 bytes)")
    sha256 = hashlib.sha256(data).hexdigest()
    if kind in _PARQUET:
        table = Table(path, sha256, _parquet(path, data), first_row=1)
    else:
        table = Table(path, sha256, _delimited(path, data, kind), first_row=2)
    if table.frame.empty:
        refuse(path, "the file has no rows" + (" below its header" if table.first_row > 1 else ""))
    return table


def _parquet(path: Path, data: bytes) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pq.read_table(pa.BufferReader(data)).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, ValueError) as error:
        refuse(path, f"the file cannot be read as Parquet ({one_line(error)})")
    return frame


def _delimited(path: Path, data: bytes, kind: str) -> pd.DataFrame:
    _require_utf8(path, data)
    # Empty lines at the end are ignored; elsewhere they count as rows of empty values.
    data = data.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    quote: str | None = None if kind in _ATOMIC else '"'
    header, _, body = data.partition(b"\n")
    names = _header(path, header, _DELIMITERS[kind], quote)
    if kind in _ATOMIC:
        names = [name.split(":")[0] for name in names]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        refuse(path, f"the column {twice!r} occurs twice", row=1)
    if not body:
        return pd.DataFrame(columns=names)
    ragged: list[Any] = []

    def skip(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = pa_csv.read_csv(
            pa.BufferReader(body),
            # The parser gives the number of a wrong row only when it runs in one thread.
            read_options=pa_csv.ReadOptions(use_threads=False, column_names=names),
            parse_options=pa_csv.ParseOptions(
                delimiter=_DELIMITERS[kind],
                quote_char=quote or False,
                newlines_in_values=quote is not None,
                ignore_empty_lines=False,
                invalid_row_handler=skip,
            ),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowInvalid as error:
        refuse(path, f"the file cannot be parsed ({one_line(error)})")
    if ragged:
        row = ragged[0]
        rule = f"the row has {row.actual_columns} values, expected {row.expected_columns} as in the header"
        refuse(path, rule, row=row.number + 1)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _require_utf8(path: Path, data: bytes) -> None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        rule = f"the file is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
        refuse(
            path,
            rule,
            row=row,
            offset=error.start,
            next_step=f"Convert it, for example: iconv -f LATIN1 -t UTF-8 {path.name} > utf8{path.suffix}",
        )


def _header(path: Path, line: bytes, delimiter: str, quote: str | None) -> list[str]:
    text = line.decode().rstrip("\r")
    if quote is None:
        return text.split(delimiter)
    names = next(csv.reader([text], delimiter=delimiter, quotechar=quote), [])
    if not names:
        refuse(path, "the header is missing", row=1)
    return [name.strip() for name in names]
