"""The type of a configuration's list of postprocessors. Their names are looked up when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema

from models.federation.postprocessors import Postprocessor, postprocessor_kind, values_of


def _parsed(values: object) -> tuple[Postprocessor, ...]:
    if not isinstance(values, list | tuple):
        raise ValueError("expected a list of postprocessors, each with its name and settings")
    return tuple(each if isinstance(each, Postprocessor) else _one(each) for each in values)


def _one(values: object) -> Postprocessor:
    if not isinstance(values, Mapping):
        raise ValueError(f"a postprocessor needs a name and settings, got {values!r}")
    if "name" not in values:
        raise ValueError(f"a postprocessor needs a name, got only {dict(values)!r}")
    kind = postprocessor_kind(values["name"])
    settings = {str(key): value for key, value in values.items() if key != "name"}
    known = [each.name for each in fields(kind)]
    for key in settings:
        if key not in known:
            raise ValueError(
                f"postprocessor {kind.name!r} has no setting {key!r}, only {', '.join(known) or 'its name'}"
            )
    try:
        return TypeAdapter(kind).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"postprocessor {kind.name!r}: {place}: {first['msg'].removeprefix('Value error, ')}"
        ) from error


def _as_values(postprocessors: tuple[Postprocessor, ...]) -> list[dict[str, Any]]:
    return [values_of(each) for each in postprocessors]


PostprocessorList = Annotated[
    tuple[Postprocessor, ...],
    PlainValidator(_parsed),
    PlainSerializer(_as_values, return_type=list[dict[str, Any]]),
    # The names are known only when a configuration is read, so the schema lists none.
    WithJsonSchema(
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "Name of a registered postprocessor."}
                },
                "required": ["name"],
                "additionalProperties": True,
            },
        }
    ),
]
