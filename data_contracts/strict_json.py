"""JSON values from other parties or from files, read as dataclasses with every part and its type checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter

from models.kernel.json_values import require_finite

Kind = TypeVar("Kind")

# Building an adapter takes milliseconds, so each is built once.
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def read_strictly(kind: type[Kind], value: object) -> Kind:
    """Return the value of this type that JSON values describe. Parts that the type does not have are ignored.

    Raises:
        ValueError, TypeError: a part is missing or has another type, or they are not JSON values.
    """
    require_finite(value)
    try:
        # From text, because only then strict validation accepts lists as tuples.
        text = json.dumps(value, allow_nan=False)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    found: Kind = _ADAPTERS[kind].validate_json(text, strict=True)
    return found


def read_exactly(kind: type[Kind], value: object) -> Kind:
    """Return the dataclass that JSON values describe, as `read_strictly`, but refuse further parts.

    Raises:
        ValueError, TypeError: as in `read_strictly`, or there is a part that the dataclass does not have.
    """
    known = kind.__dataclass_fields__  # type: ignore[attr-defined]
    if not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} instead of an object")
    unknown = sorted(str(name) for name in value if name not in known)
    if unknown:
        raise TypeError(f"unknown part {unknown[0]!r}")
    return read_strictly(kind, value)
