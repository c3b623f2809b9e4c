"""Converts the values that a database's driver returns to columns of text and numbers."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from tasks.tables.faults import Refuse
from tasks.tables.values import LOSSY_FLOAT_STEP, SIGNIFICAND_BITS, lossy_float, not_whole

_NONE = type(None)
_1970 = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)


def converted(name: str, values: Sequence[Any], refuse: Refuse, float_bits: int = 64) -> pa.Array:
    """Return the values (n,) of one of the four columns as an array.

    Args:
        name: user_id, item_id, rating or timestamp.
        values: as the driver returns them; None for NULL.
        refuse: is called with a position in `values` and the rule that the value breaks; raises.
        float_bits: size of the column's floats in the database; the driver returns all as 64 bits.

    Returns:
        Ids as text. Ratings as float64, timestamps as whole seconds since 1970 (UTC). Both are text if the
        database has text, which is then parsed like a file's.
    """
    kinds = set(map(type, values))
    if name in ("user_id", "item_id"):
        return _ids(name, values, kinds, refuse, float_bits)
    if kinds <= {str, _NONE}:
        return pa.array(values, pa.string())
    number = _seconds if name == "timestamp" else _rating
    numbers = [None if value is None else number(name, value, at, refuse) for at, value in enumerate(values)]
    if any(isinstance(each, str) for each in numbers):
        return pa.array([None if each is None else str(each) for each in numbers], pa.string())
    return pa.array(numbers, pa.float64())


def _ids(name: str, values: Sequence[Any], kinds: set[type], refuse: Refuse, float_bits: int) -> pa.Array:
    if kinds <= {str, _NONE}:
        return pa.array(values, pa.string())
    ids = [_id(name, value, at, refuse, float_bits) for at, value in enumerate(values)]
    return pa.array(ids, pa.string())


def _id(name: str, value: Any, at: int, refuse: Refuse, float_bits: int) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float | Decimal):
        # As in a file, only a whole number is an id, and it is written without a decimal point.
        if not math.isfinite(value) or value != int(value):
            refuse(at, not_whole(name, value))
        if isinstance(value, float) and abs(value) >= 2.0 ** SIGNIFICAND_BITS[float_bits]:
            refuse(at, lossy_float(name, value, float_bits), LOSSY_FLOAT_STEP)
        return str(int(value))
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            refuse(at, f"{name} is neither text nor a whole number: its bytes are not UTF-8")
    if isinstance(value, bool) or not isinstance(value, int | UUID):
        refuse(at, f"{name} is a {type(value).__name__}, expected text or a whole number")
    return str(value)


def _rating(name: str, value: Any, at: int, refuse: Refuse) -> float | str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        refuse(at, f"{name} is a {type(value).__name__}, expected a number")
    return float(value)


def _seconds(name: str, value: Any, at: int, refuse: Refuse) -> float | str:
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        # Integer arithmetic, because a float cannot hold microseconds of distant years.
        return float((aware - _1970) // _SECOND)
    if isinstance(value, dt.date):
        return float((dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC) - _1970) // _SECOND)
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        refuse(at, f"{name} is a {type(value).__name__}, expected seconds since 1970 or a date")
    return float(value)
