"""Strict checks of JSON numbers from other parties, because Python's conversions accept too much."""

from __future__ import annotations

from typing import Any


def number(value: Any) -> float:
    """Return a JSON number.

    Raises:
        TypeError: the value is not a number.
    """
    # float() alone would accept the text "nan".
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def count(value: Any) -> int:
    """Return a JSON integer of at least 0.

    Raises:
        TypeError: the value is not such an integer.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} is not an integer of at least 0")
    return value
