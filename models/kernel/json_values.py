"""Strict reading of JSON from other parties, because Python's own parser and conversions accept too much."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TypeAlias

# The part that contains a value, and the name or number of the value in it.
_Place: TypeAlias = "tuple[_Place | None, str]"


def read_json(data: bytes | str) -> object:
    """Return the values in JSON text.

    Raises:
        ValueError: it is not JSON, has a number that JSON cannot write, or is nested too deeply.
    """
    try:
        return json.loads(data, parse_constant=_refused, parse_float=_float)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def require_finite(value: object) -> None:
    """Raise `ValueError` if JSON values have a number that is not finite, or too large for a float."""
    # Each entry leads to its parents, because a path of each would be long in deeply nested values.
    left: list[tuple[object, _Place | None]] = [(value, None)]
    while left:
        each, place = left.pop()
        if isinstance(each, Mapping):
            left += [(inner, (place, str(name))) for name, inner in each.items()]
        elif isinstance(each, list | tuple):
            left += [(inner, (place, str(row))) for row, inner in enumerate(each)]
        elif isinstance(each, int | float) and not _is_finite(each):
            raise ValueError(f"its part {_path(place)!r} is not a finite number")


def number(value: object, what: str = "value") -> float:
    """Return a finite JSON number; `what` names it in the error.

    Raises:
        ValueError: the value is not such a number.
    """
    # float() alone would accept the text "nan".
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the {what} {_shown(value)} is not a number")
    if not _is_finite(value):
        raise ValueError(f"the {what} {_shown(value)} is not a finite number")
    return float(value)


def whole(value: object, what: str = "value") -> int:
    """Return a JSON integer; `what` names it in the error.

    Raises:
        ValueError: the value is not an integer.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"the {what} {_shown(value)} is not an integer")
    return value


def count(value: object, what: str = "value") -> int:
    """Return a JSON integer of at least 0; `what` names it in the error.

    Raises:
        ValueError: the value is not such an integer.
    """
    found = whole(value, what)
    if found < 0:
        raise ValueError(f"the {what} {_shown(value)} is not an integer of at least 0")
    return found


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def _path(place: _Place | None) -> str:
    names: list[str] = []
    while place is not None:
        place, name = place
        names.insert(0, name)
    return ".".join(names)


def _refused(constant: str) -> float:
    raise ValueError(f"it has the number {constant}")


def _float(text: str) -> float:
    found = float(text)
    return found if math.isfinite(found) else _refused(text)


def _shown(value: object) -> str:
    try:
        return repr(value)[:80]
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "so large an integer"
