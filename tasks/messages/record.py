"""Records: frozen dataclasses with a JSON form that is read back strictly, with every part and its type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import JsonValue, ValidationError

from data_contracts.strict_json import read_strictly
from models.errors import CorruptArtifact

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

JsonObject = dict[str, JsonValue]

_MOST_FAULTS = 3
_OTHER_VERSION = "Use the version of fedrec that wrote it."


@dataclass(frozen=True, kw_only=True)
class Record:
    """A value that is stored as one JSON object with a format number.

    A part that a later version added has a default. If that default is None, the JSON leaves out the part
    while it is None, so that the bytes of an older record stay the same.

    Attributes:
        format: format number of the JSON.
    """

    format: Literal[1] = 1
    # Whether there are older records without a format number.
    was_without_format: ClassVar[bool] = True

    def to_json(self) -> JsonObject:
        """Return the record as JSON values."""
        parts = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {
            name: as_json_value(value)
            for name, (value, default) in parts.items()
            if value is not None or default is not None
        }

    @classmethod
    def of_json(cls, value: object, origin: str, next_step: str = "") -> Self:
        """Return the record that `to_json` wrote.

        Args:
            value: the JSON values.
            origin: the file or version that holds them, for the error.
            next_step: the next step in errors.

        Raises:
            CorruptArtifact: the format is unknown, or a part is missing or has another type.
        """
        if not isinstance(value, Mapping):
            raise CorruptArtifact(f"{origin} is not a JSON object.", next_step=next_step)
        if not cls.was_without_format and "format" not in value:
            raise CorruptArtifact(f"{origin} lacks 'format'.", next_step=next_step)
        try:
            return read_strictly(cls, value)
        except ValidationError as error:  # a ValueError
            other_version = any(each["loc"][-1:] == ("format",) for each in error.errors())
            raise CorruptArtifact(
                f"{origin} {_faults(error)}.", next_step=_OTHER_VERSION if other_version else next_step
            ) from error
        except (ValueError, TypeError) as error:
            raise CorruptArtifact(f"{origin} is not a record: {error}.", next_step=next_step) from error


def as_json_value(value: object) -> JsonValue:
    """Return a value made of dataclasses, mappings, sequences and plain values as JSON values."""
    if isinstance(value, Record):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return as_json_object(value)
    if isinstance(value, Mapping):
        return {_text(str(name)): as_json_value(each) for name, each in value.items()}
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Sequence):
        return [as_json_value(each) for each in value]
    raise TypeError(f"{type(value).__name__} has no JSON form.")


def as_json_object(value: DataclassInstance) -> JsonObject:
    """Return a dataclass as one JSON object, without a format."""
    return {each.name: as_json_value(getattr(value, each.name)) for each in fields(value)}


def flattened(values: Mapping[str, JsonValue], prefix: str = "") -> list[tuple[str, JsonValue]]:
    """Return (dotted name, value) of every leaf."""
    leaves: list[tuple[str, JsonValue]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            leaves += flattened(value, f"{prefix}{name}.")
        else:
            leaves.append((f"{prefix}{name}", value))
    return leaves


def _text(value: str) -> str:
    """Return the text with "?" for each lone surrogate, which a silo may send and JSON readers refuse."""
    return value if value.isascii() else value.encode(errors="replace").decode()


def _faults(error: ValidationError) -> str:
    """Return the faults as a predicate that follows the record's name."""
    found = [
        _fault(".".join(str(part) for part in each["loc"]), each["type"], each["msg"], each["input"])
        for each in error.errors(include_url=False)
    ]
    more = f" and has {len(found) - _MOST_FAULTS} more faults" if len(found) > _MOST_FAULTS else ""
    return " and ".join(found[:_MOST_FAULTS]) + more


def _fault(part: str, kind: str, message: str, given: object) -> str:
    if not part:
        return f"is not a record: {message[:1].lower()}{message[1:]}"
    if kind == "missing":
        return f"lacks {part!r}"
    if part.rpartition(".")[2] == "format":
        return f"has {part} {given!r}, which this version of fedrec does not know"
    return f"has an invalid {part!r}: {message.lower()}, got {str(given)[:80]!r}"
