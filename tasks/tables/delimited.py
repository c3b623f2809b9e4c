"""Reads text files in batches with Arrow's parser."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from tasks.tables.dialect import Dialect, Opened, first_record, header, row_at
from tasks.tables.encoding import require_text
from tasks.tables.faults import SKIP
from tasks.tables.table import named, one_line, refuse

_BLOCK_BYTES = 4 << 20
# The least bytes of a usual row.
_BYTES_IN_A_ROW = 12
_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars"}


class DelimitedFile:
    """A text file, whose header and encoding are checked.

    Every value is text, exactly as it is written. Empty lines are ignored. A line ends with LF, CR LF or CR.

    Attributes:
        names: the columns; one without a name is left out.
        header_row: always 1.
    """

    header_row = 1

    def __init__(self, path: Path, open_: Opened, dialect: Dialect, *, skips_ragged: bool = False) -> None:
        """Check the file.

        Args:
            path: for errors.
            open_: opens the file.
            dialect: how it separates its values.
            skips_ragged: whether rows with another number of values than the header are left out.

        Raises:
            InvalidInput: it is not UTF-8 text, or has no header.
        """
        self._path, self._open, self._dialect = path, open_, dialect
        self._skips_ragged = skips_ragged
        self._ragged: list[tuple[int, int]] = []
        require_text(path, open_, dialect)
        try:
            self._all_names, self._start = header(open_, dialect)
        except csv.Error as error:
            refuse(path, f"the header cannot be read ({one_line(error)})", row=1)
        self.names = named(self._all_names)
        if not self.names:
            refuse(path, "the header is missing", row=1)
        self._require_delimiter()
        self._require_header_first()

    def most_rows(self, size: int) -> int:
        """Return how many rows a file of `size` bytes may have; usually it has fewer."""
        return size // _BYTES_IN_A_ROW

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of these columns as text, in order.

        Raises:
            InvalidInput: a row has another number of values than the header, or cannot be parsed.
        """
        with self._open() as stream:
            stream.seek(self._start)
            if not stream.read(1):
                return
        try:
            for batch in self._parsed(columns):
                self._require_marks_at_the_start(batch)
                yield batch
        except pa.ArrowInvalid as error:
            self._refuse_row(error)

    def number(self, position: int) -> int:
        """Return the number in the file, where the header is 1, of the row at this position."""
        places = np.array([place for place, _ in self._ragged], dtype=np.int64)
        before = int(np.searchsorted(places - np.arange(len(places)), position, side="right"))
        return row_at(self._open, self._dialect, position + before)

    def left_out(self, most: int) -> tuple[int, list[tuple[int, str]]]:
        """Return how many ragged rows were left out, and the number and the fault of the first ones."""
        first = [
            (row_at(self._open, self._dialect, place), self._ragged_rule(values))
            for place, values in self._ragged[:most]
        ]
        return len(self._ragged), first

    def _ragged_rule(self, values: int) -> str:
        return f"the row has {values} values, expected {len(self._all_names)} as in the header"

    def _skip(self, row: pa_csv.InvalidRow) -> str:
        self._ragged.append((row.number - 1, row.actual_columns))
        return "skip"

    def _parsed(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        stream = self._open()
        stream.seek(self._start)
        reader = pa_csv.open_csv(
            stream,
            read_options=pa_csv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, column_names=self._all_names
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                quote_char='"' if self._dialect.is_quoted else False,
                newlines_in_values=self._dialect.is_quoted,
                ignore_empty_lines=True,
                invalid_row_handler=self._skip if self._skips_ragged else None,
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(columns), column_types=dict.fromkeys(columns, pa.string())
            ),
        )
        # The reader owns the stream now, and closes it when its thread has read the last block.
        del stream
        with reader:
            yield from reader

    def _require_delimiter(self) -> None:
        """Raise `InvalidInput` if the header is one name that other delimiters would split."""
        [first, *others] = self.names
        for delimiter, what in _OTHER_DELIMITERS.items():
            if not others and delimiter != self._dialect.delimiter and delimiter in first:
                expected = _OTHER_DELIMITERS[self._dialect.delimiter]
                step = f"Write it with {expected}, or give it the extension of its form."
                converted = None
                if delimiter in ";|":
                    converted = _converted_name(self._path)
                    step = f"Convert it: {_conversion(self._path, delimiter, self._dialect.delimiter)}"
                    if delimiter == ";":
                        step += " (then write numbers such as 12,50 with a point)"
                rule = (
                    f"the values are separated by {what}, expected {expected}: the only column is {first!r}"
                )
                refuse(self._path, rule, row=1, next_step=step, converted=converted)

    def _require_header_first(self) -> None:
        """Raise `InvalidInput` if row 1 is a comment or a title, and the header comes after it."""
        [first, *others] = self._all_names
        if others and not first.startswith("#"):
            return
        row, values = first_record(self._open, self._dialect, lambda values: values[0][:1] != "#", start=2)
        # A title or comment above values that are not separated as expected has no delimiter either.
        hides_others = (
            not others
            and (" " in first or first.startswith("#"))
            and any(
                delimiter in value and delimiter not in first
                for value in values
                for delimiter in _OTHER_DELIMITERS
            )
        )
        if len(values) > len(self._all_names) or hides_others:
            source, target = shlex.quote(str(self._path)), shlex.quote(_converted_name(self._path))
            rule = f"the header is expected, but it is {first[:60]!r}, and row {row} has {len(values)} values"
            step = f"Remove the lines above the header: tail -n +{row} {source} > {target}"
            refuse(self._path, rule, row=1, next_step=step, converted=_converted_name(self._path))

    def _require_marks_at_the_start(self, batch: pa.RecordBatch) -> None:
        """Raise `InvalidInput` at a blank before a quoted value: its marks would be part of the value."""
        if not self._dialect.is_quoted:
            return
        for column in batch.columns:
            if (
                pc.any(pc.starts_with(column, " ")).as_py()
                and pc.any(pc.match_substring_regex(column, '(?s)^ +".*" *$')).as_py()
            ):
                row, _ = first_record(self._open, self._dialect, _has_late_mark)
                step = "Remove the blanks after the delimiters."
                refuse(self._path, "a blank is before a quotation mark", row=row, next_step=step)

    def _refuse_row(self, error: pa.ArrowInvalid) -> NoReturn:
        expected = len(self._all_names)
        row, values = first_record(self._open, self._dialect, lambda values: len(values) != expected)
        if row is not None:
            refuse(self._path, self._ragged_rule(len(values)), row=row, option=SKIP)
        if "straddl" in str(error):
            refuse(self._path, f"a row is longer than {_BLOCK_BYTES >> 20} MB")
        refuse(self._path, f"the file cannot be parsed ({one_line(error)})")


def _converted_name(path: Path) -> str:
    return f"{path.stem}-converted{path.suffix}"


def _conversion(path: Path, delimiter: str, expected: str) -> str:
    """Return the command that writes a file again with the expected delimiter."""
    code = (
        f"import csv, sys; csv.writer(sys.stdout, delimiter={expected!r}).writerows("
        f"csv.reader(sys.stdin, delimiter={delimiter!r}))"
    )
    return f'python3 -c "{code}" < {shlex.quote(str(path))} > {shlex.quote(_converted_name(path))}'


def _has_late_mark(values: list[str]) -> bool:
    inner = [value.strip(" ") for value in values if value.startswith(" ")]
    return any(value.startswith('"') and value.endswith('"') for value in inner)
