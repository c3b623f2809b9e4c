"""A table of a user's rows, and the error that names file, row and rule."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from models.errors import InvalidInput
from tasks.tables import values
from tasks.tables.column_names import OPTION, guessed, written
from tasks.tables.faults import Broken, Faults, Report


def refuse(
    path: Path | str, rule: str, *, row: int | None = None, next_step: str = "", **facts: Any
) -> NoReturn:
    """Raise `InvalidInput` with the file, the row (from 1) and the rule that it breaks."""
    where = str(path) if row is None else f"{path}, row {row}"
    raise InvalidInput(f"{where}: {rule}.", next_step=next_step, file=path, row=row, rule=rule, **facts)


def require_columns(
    path: Path | str,
    found: Sequence[str],
    needed: Sequence[str],
    header_row: int | None = None,
    own: Sequence[str] = (),
) -> None:
    """Raise `InvalidInput` unless each needed column is among those found, and none is there twice.

    Args:
        path: of the file, or a description of where the rows come from.
        found: the names of its columns.
        needed: the names that must be among them.
        header_row: the number of the row that has the names, or None.
        own: all names that `ColumnNames` may give to columns of this file; another one must be in the file.
    """
    listed = ", ".join(found)
    for name in found:
        if found.count(name) > 1:
            refuse(path, f"the column {name!r} occurs twice; the columns are: {listed}", row=header_row)
    missing = [name for name in needed if name not in found]
    if missing:
        what = f"column {missing[0]!r} is" if len(missing) == 1 else f"columns {listing(missing)} are"
        rule = f"the {what} missing; the columns are: {listed}"
        if not set(missing) <= set(own):
            refuse(path, rule, row=header_row, next_step=_renaming(missing, found), column=missing[0])
        meant = guessed(missing, found, own)
        meant = {
            name: meant.get(name, nearest(name, [each for each in found if each not in own]))
            for name in missing
        } | meant
        option = (OPTION, written({name: stored or "COLUMN" for name, stored in meant.items()}))
        which = "column holds it" if len(missing) == 1 else "columns hold them"
        step = f"Say which {which}, such as {' '.join(map(shlex.quote, option))}."
        known = all(meant.values())
        refuse(
            path, rule, row=header_row, next_step=step, column=missing[0], option=option if known else None
        )


def named(names: Sequence[str]) -> list[str]:
    """Return the names of columns without the blanks around them; a column without a name is none."""
    return [name.strip() for name in names if name.strip()]


def nearest(name: str, among: Sequence[str]) -> str:
    """Return the name that is most like this one, whatever its case; "" if none is."""
    plain = {_stem(each): each for each in reversed(among)}
    return next((plain[each] for each in difflib.get_close_matches(_stem(name), plain, 1)), "")


def _stem(name: str) -> str:
    """Return a name in small letters without "id" at its end, which would make order_id like user_id."""
    small = name.casefold()
    return small.removesuffix("id").rstrip("_- ") or small


def listing(names: Sequence[str]) -> str:
    """Return names in quotation marks, with "and" before the last."""
    quoted = [repr(name) for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def _renaming(missing: Sequence[str], found: Sequence[str]) -> str:
    """Return how to mend missing columns."""
    others = [name for name in found if name not in missing]
    near = {name: nearest(name, others) for name in missing}
    if len(missing) > 1:
        step = f"Rename the columns that hold them to {listing(missing)}"
    else:
        step = f"Rename the column that holds it to {missing[0]!r}"
    hints = [f"{name!r} is perhaps {other!r}" for name, other in near.items() if other]
    return f"{step}{': ' + ', '.join(hints) if hints else ''}."


def first(mask: pd.Series[bool] | npt.NDArray[np.bool_]) -> int:
    """Return the position of the first true value."""
    return int(np.argmax(np.asarray(mask, dtype=bool)))


def one_line(error: Exception) -> str:
    """Return the error's message on one line, cut after 200 characters."""
    return " ".join(str(error).split())[:200]


def from_one(position: int) -> int:
    """Return the number of the row at a position where rows are counted from 1, without a header."""
    return position + 1


@dataclass(frozen=True)
class Table:
    """Rows of a file or query, or some of them.

    Attributes:
        path: the file, or a description of where the rows come from.
        data: the rows in order; every column is text if it came from a text file.
        sha256: of the file's bytes or of the query; empty for a part of a file.
        number: returns the number in the file, from 1, of the row at a position of `data`.
        header_row: the number of the row that names the columns; None unless there is such a row.
        faults: collects the rows that break a rule; None refuses the first.
        stored: the names that the columns have in the file.
    """

    path: Path | str
    data: pa.Table
    sha256: str = ""
    number: Callable[[int], int] = from_one
    header_row: int | None = None
    faults: Faults | None = None
    stored: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.data.column_names)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as pandas has them, with their types.

        Raises:
            InvalidInput: pandas has no type for a column.
        """
        try:
            frame: pd.DataFrame = self.data.to_pandas(ignore_metadata=True)
        except (pa.ArrowException, ValueError) as error:
            refuse(self.path, f"the columns cannot be read ({one_line(error)})")
        return frame

    def without_rows(self) -> Table:
        """Return the table without its rows, which still numbers them."""
        return replace(self, data=self.data.schema.empty_table())

    def row(self, position: int) -> int:
        """Return the number, in the file and from 1, of the row at this position."""
        return self.number(int(position))

    def refuse(self, position: int, rule: str, next_step: str = "", **facts: Any) -> NoReturn:
        """Raise `InvalidInput` for the row at this position."""
        refuse(self.path, rule, row=self.row(position), next_step=next_step, **facts)

    def kept(self, mask: npt.NDArray[np.bool_]) -> Table:
        """Return the table with the rows of a mask (n,) alone, which keep their numbers."""
        positions = np.flatnonzero(mask)
        number = self.number
        return replace(
            self,
            data=self.data.filter(pa.array(mask)),
            number=lambda position: number(int(positions[position])),
        )

    def require_columns(self, names: Sequence[str]) -> None:
        """Raise `InvalidInput` unless the table has these columns."""
        require_columns(self.path, self.columns, names, self.header_row)

    def ids(self, name: str) -> pd.Series[str]:
        """Return a column of ids as text, without the blanks around them.

        Raises:
            InvalidInput: a value is empty, holds a line break or NUL, or is neither text nor a whole number.
        """
        return self._text(name, values.ids_of(name, self.data[name], self._report))

    def text(self, name: str) -> pd.Series[str]:
        """Return a column of names as text, without the blanks around them; dates and booleans are allowed.

        Raises:
            InvalidInput: a value is empty, holds a line break or NUL, or has no text of its own.
        """
        return self._text(name, values.text_of(name, self.data[name], self._report))

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Return (n,) a column of numbers, with NaN for values that are not numbers.

        Raises:
            InvalidInput: the column has a type that is neither a number nor text.
        """
        return values.numbers_of(name, self.data[name], self._report)

    def finite(self, name: str) -> npt.NDArray[np.float64]:
        """Return (n,) a column of numbers.

        Raises:
            InvalidInput: a value is not a finite number.
        """
        numbers = self.numbers(name)
        self._report.rows(
            ~np.isfinite(numbers), lambda at: Broken(f"{name} {self.shown(name, at)} is not a finite number")
        )
        return numbers

    def seconds(self, name: str) -> npt.NDArray[np.int64]:
        """Return (n,) a column of times as whole seconds since 1970 (UTC).

        Raises:
            InvalidInput: a value is neither a number of seconds nor a date.
        """
        seconds = values.seconds_of(name, self.data[name], self._report)
        absent = np.isnan(seconds)
        self._report.rows(absent, lambda at: self._no_time(name, at))
        seconds[absent] = 0.0
        return seconds.astype(np.int64)

    def shown(self, name: str, position: int) -> str:
        """Return a value as errors show it."""
        value = self.data[name][position].as_py()
        return "(empty)" if value is None or not str(value).strip() else repr(str(value))

    @property
    def _report(self) -> Report:
        return Report(self.refuse, self.faults)

    def _no_time(self, name: str, position: int) -> Broken:
        return Broken(
            f"{name} {self.shown(name, position)} is neither seconds since 1970 nor ISO 8601",
            values.unit_advice(str(self.data[name][position].as_py())),
        )

    def _text(self, name: str, text: pa.ChunkedArray) -> pd.Series[str]:
        whole: pd.Series[str] = values.trimmed(name, text, self._report).to_pandas()
        return whole
