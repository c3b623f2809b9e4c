"""The forms of text files, and their records one by one: the header, and the place of an error."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

BOM = "\ufeff"
_MOST_CHARACTERS_OF_A_LINE = 1 << 20

# Opens a file from its start. Arrow reads ahead in a thread of its own, also after an error and while the
# process ends, when a stream of Python must not be read any more. So the file is one of Arrow's own.
Opened = Callable[[], pa.NativeFile]


@dataclass(frozen=True)
class Dialect:
    """How a text file separates its values.

    Attributes:
        delimiter: between two values of a row.
        is_quoted: whether quotation marks may enclose a value. RecBole's "atomic files" are never quoted, and
            their header has "name:type".
    """

    delimiter: str
    is_quoted: bool = True


_ATOMIC = Dialect("\t", is_quoted=False)
DIALECTS = {
    ".csv": Dialect(","),
    ".tsv": Dialect("\t"),
    ".inter": _ATOMIC,
    ".item": _ATOMIC,
    ".user": _ATOMIC,
}


def records(open_: Opened, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with its number, from 1; empty lines count but are not yielded.

    It is slower than Arrow's parser by far, and finds the row of an error when that parser has found one.
    Bytes that are not UTF-8 become lone surrogates.
    """
    with open_() as stream:
        lines = _Lines(stream)
        for number, values in enumerate(_reader(lines, dialect), start=1):
            if values:
                yield number, values


def header(open_: Opened, dialect: Dialect) -> tuple[list[str], int]:
    """Return the names in the first record, and the offset in bytes of the next record.

    Raises:
        csv.Error: the first line is too long for a header.
    """
    with open_() as stream:
        lines = _Lines(stream)
        names = [name.strip() for name in next(_reader(lines, dialect), [])]
        return [name if dialect.is_quoted else name.split(":")[0] for name in names], lines.bytes_read


def first_record(
    open_: Opened, dialect: Dialect, is_meant: Callable[[list[str]], bool], start: int = 1
) -> tuple[int | None, list[str]]:
    """Return number and values of the first record, from `start` on, that `is_meant`; else (None, [])."""
    try:
        every = records(open_, dialect)
        return next((each for each in every if each[0] >= start and is_meant(each[1])), (None, []))
    except csv.Error:
        return None, []  # a value longer than Python's reader accepts


def row_at(open_: Opened, dialect: Dialect, position: int) -> int:
    """Return the number of the record at a position below the header."""
    found = (number for place, (number, _) in enumerate(records(open_, dialect)) if place == position + 1)
    try:
        return next(found, position + 2)
    except csv.Error:
        return position + 2


def row_of_open_quotation(open_: Opened, dialect: Dialect) -> int | None:
    """Return the number of the record whose quotation mark is never closed; None if there is none."""
    sentinel = "\0"
    number, last = 0, [""]
    with open_() as stream:
        try:
            for last in _reader(_followed(_Lines(stream), sentinel), dialect):  # noqa: B007 - used below
                number += 1
        except csv.Error:
            return number + 1
    return None if last == [sentinel] else number


class _Lines:
    """The lines of a stream with their ends, and the number of bytes read."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
        self.bytes_read = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(_MOST_CHARACTERS_OF_A_LINE):
            is_first = self.bytes_read == 0
            self.bytes_read += len(line.encode("utf-8", "surrogateescape"))
            yield line.removeprefix(BOM) if is_first else line


def _followed(lines: _Lines, last: str) -> Iterator[str]:
    yield from lines
    yield "\n"
    yield last


def _reader(lines: _Lines | Iterator[str], dialect: Dialect) -> Iterator[list[str]]:
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.is_quoted else csv.QUOTE_NONE
    return csv.reader(iter(lines), delimiter=dialect.delimiter, quoting=quoting)
