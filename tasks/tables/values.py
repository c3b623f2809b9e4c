"""Converts a column of any type to ids, names, numbers or times; every source of rows uses these rules."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.tables.faults import Broken, Report

# The last second of the year 9999. Milliseconds since 1970 are far greater, so this bound detects them.
_LAST_SECOND = 253_402_300_799
# The years 1990 to 2099, where times in another unit are looked for.
_FIRST_LIKELY, _LAST_LIKELY = 631_152_000, 4_102_444_799
_ISO_8601 = r"^\d{4}-\d{2}-\d{2}(?:[T ].*)?$"
_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_PARTS_OF_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Bits of a float -> bits of its significand. From 2 to that power on, not every whole number has a float.
SIGNIFICAND_BITS = {16: 11, 32: 24, 64: 53}
_BITS_OF_A_DOUBLE = 64
_ROWS_AT_ONCE = 1 << 17
_MEND = {
    "is empty": "Fill it in, or remove the row.",
    "holds a line break": "Is a quotation mark before it not closed?",
    "holds a NUL character": "Remove the character.",
}
_WIDEST_DECIMAL = pa.decimal256(76, 0)


def ids_of(name: str, column: pa.ChunkedArray, report: Report) -> pa.ChunkedArray:
    """Return a column of ids as text; a null stays a null.

    Text is kept as it is. A whole number is written in digits, without a point.

    Args:
        name: of the column.
        column: (n,) text, whole numbers, UUIDs, or bytes that are UTF-8.
        report: gets what is wrong.
    """
    column = _plain(name, column, report)
    kind = column.type
    if pa.types.is_floating(kind):
        return _whole_floats(name, column, report)
    if pa.types.is_decimal(kind):
        return _whole_decimals(name, column, report)
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    return report.refuse(_first_present(column), f"{name} is a {kind}, expected text or a whole number")


def text_of(name: str, column: pa.ChunkedArray, report: Report) -> pa.ChunkedArray:
    """Return a column of names as text; like `ids_of`, but booleans, dates and times are allowed too."""
    kind = _decoded(column).type
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        return _decoded(column).cast(pa.string())
    return ids_of(name, column, report)


def trimmed(name: str, text: pa.ChunkedArray, report: Report) -> pa.ChunkedArray:
    """Return text without the blanks around each value; every value must have one line of text."""
    inner = pc.utf8_trim_whitespace(text)
    for mask, rule in (
        (pc.equal(pc.fill_null(inner, ""), ""), "is empty"),
        # Most often an unclosed quotation mark, which makes the parser read the next rows as one value.
        (pc.match_substring_regex(inner, "[\r\n]"), "holds a line break"),
        (pc.match_substring(inner, "\0"), "holds a NUL character"),
    ):
        count = pc.sum(mask).as_py() or 0
        if count:
            # Of a part of a file, there may be more.
            more = f", as in {count - 1:,} or more other rows" if count > 1 and report.faults is None else ""
            report.rows(_mask(mask), partial(_broken, f"{name} {rule}{more}", _MEND[rule]))
    return inner


def numbers_of(name: str, column: pa.ChunkedArray, report: Report) -> npt.NDArray[np.float64]:
    """Return (n,) numbers, or texts of numbers, as float64; NaN for a null or another text."""
    column = _plain(name, column, report)
    if pa.types.is_string(column.type):
        column = _written_numbers(column)
    elif not (_is_number(column.type) or pa.types.is_null(column.type)):
        report.refuse(_first_present(column), f"{name} is a {column.type}, expected a number")
    return as_doubles(column)


def as_doubles(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return (n,) a column of numbers as float64, those that a text file has: each as it is written.

    1.1 in 32 bits would else become 1.10000002384. Arrow multiplies decimals by a power of ten, which makes
    4.1000000000000005 of 4.1. There is one zero, without a sign, as integers and decimals have it.
    """
    kind = column.type
    if pa.types.is_floating(kind) and kind.bit_width < _BITS_OF_A_DOUBLE:
        numbers = _as_written(np.asarray(column.to_numpy()))
    else:
        written = column.cast(pa.string()) if pa.types.is_decimal(kind) else column
        numbers = _array(written.cast(pa.float64()))
    numbers += 0.0
    return numbers


def _as_written(floats: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return (n,) the doubles of the same digits as these shorter floats."""
    numbers = np.empty(len(floats))
    # The digits of all rows at once would take 128 bytes a row, and most columns repeat few values.
    for start in range(0, len(floats), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        distinct, places = np.unique(floats[part], return_inverse=True)
        numbers[part] = distinct.astype(str).astype(np.float64)[places]
    return numbers


def seconds_of(name: str, column: pa.ChunkedArray, report: Report) -> npt.NDArray[np.float64]:
    """Return (n,) whole seconds since 1970 (UTC) of numbers, dates or texts of either; NaN for the rest.

    A time without a zone is UTC. Fractions of a second are dropped.
    """
    column = _plain(name, column, report)
    kind = column.type
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms"))
    if pa.types.is_timestamp(column.type):
        parts = column.cast(pa.int64())
        # Divided as whole numbers, because a float cannot hold the nanoseconds of today.
        whole = pc.fill_null(parts, 0).to_numpy() // _PARTS_OF_A_SECOND[column.type.unit]
        seconds = np.where(column.is_null().to_numpy(), np.nan, whole)
    else:
        if not (_is_number(kind) or pa.types.is_string(kind) or pa.types.is_null(kind)):
            report.refuse(
                _first_present(column), f"{name} is a {kind}, expected seconds since 1970 or a date"
            )
        seconds = numbers_of(name, column, report)
        if pa.types.is_floating(kind) and kind.bit_width < _BITS_OF_A_DOUBLE:
            _require_exact_times(name, seconds, kind.bit_width, report)
        if pa.types.is_string(kind):
            other = np.isnan(seconds)
            seconds[other] = _written_dates(column.filter(pa.array(other)))
    floored = np.floor(seconds)
    floored[(seconds > _LAST_SECOND) | (seconds < -_LAST_SECOND)] = np.nan
    return floored


def _require_exact_times(name: str, seconds: npt.NDArray[np.float64], bits: int, report: Report) -> None:
    """Report times in short floats that are not exact to the second: they would lose their order."""
    lossy = np.abs(seconds) >= 2.0 ** SIGNIFICAND_BITS[bits]
    rule = f"of {name} is a {bits}-bit float, which is not exact to the second"
    step = "Store the times as integers or as 64-bit floats."
    report.rows(lossy, lambda at: Broken(f"the value {seconds[at]:.0f} {rule}", step))


def unit_advice(text: str) -> str:
    """Return the next step for a time that is no seconds since 1970, if it looks like another unit."""
    if not re.fullmatch(_NUMBER, text):
        return ""
    number = float(text)
    for unit, parts in (("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)):
        if _FIRST_LIKELY <= number / parts <= _LAST_LIKELY:
            return f"It seems to be {unit}: divide by {parts:,}."
    if re.fullmatch(r"(19|20)\d{12}", text):
        return f"Write it as {text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:]}."
    return ""


def lossy_float(name: str, value: float, bits: int) -> str:
    """Return the rule that a float id breaks from which digits may have been lost."""
    power = SIGNIFICAND_BITS[bits]
    return (
        f"{name} {value:.0f} is a {bits}-bit float, and from 2^{power} on such floats do not tell all whole "
        "numbers apart"
    )


LOSSY_FLOAT_STEP = "Store the ids as text or as integers."


def not_whole(name: str, value: object) -> str:
    """Return the rule that an id breaks which is a number but not a whole one."""
    return f"{name} {value} is neither text nor a whole number"


def _plain(name: str, column: pa.ChunkedArray, report: Report) -> pa.ChunkedArray:
    """Return the column with UUIDs and bytes as text, and as strings of one kind."""
    column = _decoded(column)
    kind = column.type
    if isinstance(kind, pa.UuidType):
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if pa.types.is_fixed_size_binary(kind):
        column = column.cast(pa.binary())
    if _is_text(column.type):
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            wrong = np.array([bool(value) and not _is_utf8(value) for value in column.to_pylist()])
            broken = Broken(f"{name} is neither text nor a whole number: its bytes are not UTF-8")
            report.rows(wrong, lambda at: broken)
            return _without(column, wrong).cast(pa.string())
    return column


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column without a dictionary, and its storage if it is of another's extension type."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if isinstance(column.type, pa.BaseExtensionType) and not isinstance(column.type, pa.UuidType):
        storage = [chunk.storage for chunk in column.chunks]
        column = pa.chunked_array(storage, column.type.storage_type)
    return column


def _whole_floats(name: str, column: pa.ChunkedArray, report: Report) -> pa.ChunkedArray:
    bits = column.type.bit_width
    present = column.is_valid().to_numpy()
    numbers = _array(column.cast(pa.float64()))
    with np.errstate(invalid="ignore"):
        wrong = present & ~(np.isfinite(numbers) & (np.floor(numbers) == numbers))
        lossy = present & (np.abs(numbers) >= 2.0 ** SIGNIFICAND_BITS[bits])

    def broken(at: int) -> Broken:
        if wrong[at]:
            return Broken(not_whole(name, numbers[at]))
        return Broken(lossy_float(name, numbers[at], bits), LOSSY_FLOAT_STEP)

    report.rows(wrong | lossy, broken)
    return _without(column, wrong | lossy).cast(pa.float64()).cast(pa.int64()).cast(pa.string())


def _whole_decimals(name: str, column: pa.ChunkedArray, report: Report) -> pa.ChunkedArray:
    try:
        return column.cast(_WIDEST_DECIMAL).cast(pa.string())
    except pa.ArrowInvalid:
        values = column.to_pylist()
        wrong = np.array([each is not None and each != each.to_integral_value() for each in values])
        report.rows(wrong, lambda at: Broken(not_whole(name, values[at])))
        return _without(column, wrong).cast(_WIDEST_DECIMAL).cast(pa.string())


def _without(column: pa.ChunkedArray, wrong: npt.NDArray[np.bool_]) -> pa.ChunkedArray:
    """Return the column with nulls where it is wrong."""
    return pc.if_else(pa.array(wrong), pa.scalar(None, column.type), column)


def _written_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the texts that are numbers without their plus sign, and null for the others."""
    text = pc.utf8_trim_whitespace(column)
    is_number = pc.match_substring_regex(text, _NUMBER)
    return pc.if_else(is_number, pc.utf8_ltrim(text, "+"), pa.scalar(None, pa.string()))


def _written_dates(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    text = pc.utf8_trim_whitespace(column)
    is_date = pc.match_substring_regex(text, _ISO_8601)
    given = pc.if_else(is_date, text, pa.scalar(None, pa.string())).to_pandas()
    dates = pd.to_datetime(given, format="ISO8601", utc=True, errors="coerce")
    # Microseconds fit the years 1 to 9999; nanoseconds would end in 2262.
    whole = dates.dt.as_unit("us").astype("int64").to_numpy() // 10**6
    return np.where(dates.isna(), np.nan, whole)


def _array(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return np.array(column.to_numpy(), dtype=np.float64)


def _broken(rule: str, next_step: str, position: int) -> Broken:
    """Return the same rule for every position."""
    del position
    return Broken(rule, next_step)


def _mask(mask: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.fill_null(mask, False).to_numpy(), dtype=bool)


def _first(mask: pa.ChunkedArray) -> int:
    return int(pc.index(mask, True).as_py())


def _first_present(column: pa.ChunkedArray) -> int:
    """Return the position of the first value that is not null, or 0."""
    return max(_first(column.is_valid()), 0)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
    )


def _is_utf8(value: Any) -> bool:
    try:
        bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
