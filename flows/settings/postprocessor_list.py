"""The type of a configuration's list of postprocessors. Their names are looked up when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema

from models.errors import InvalidConfig
from models.federation.postprocessors import Postprocessor, postprocessor_kind, values_of


def _parsed(values: object) -> tuple[Postprocessor, ...]:
    """Return the postprocessors.

    Raises:
        InvalidConfig: the value is no list of them. Its key is relative to the list, such as `0.bound`.
    """
    if not isinstance(values, list | tuple):
        raise InvalidConfig(
            f"expected a list of postprocessors, got {values!r}.", next_step="Begin each with `- name: ...`."
        )
    return tuple(
        each if isinstance(each, Postprocessor) else _one(each, str(index))
        for index, each in enumerate(values)
    )


def _one(values: object, place: str) -> Postprocessor:
    if not isinstance(values, Mapping) or "name" not in values:
        raise InvalidConfig(
            f"a postprocessor needs a name, got {values!r}.",
            next_step="Begin it with `- name: ...`, and write its settings below.",
            key=place,
        )
    try:
        kind = postprocessor_kind(values["name"])
    except ValueError as error:
        raise InvalidConfig(f"{error}.", key=f"{place}.name") from error
    settings = {str(key): value for key, value in values.items() if key != "name"}
    known = [each.name for each in fields(kind)]
    for key in settings:
        if key not in known:
            raise InvalidConfig(
                f"the postprocessor {kind.name!r} has no setting {key!r}.",
                next_step=f"Its settings: {', '.join(known) or 'none'}.",
                key=f"{place}.{key}",
            )
    try:
        return TypeAdapter(kind).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, (place, *first["loc"])))
        what = f"{first['msg'].removeprefix('Value error, ')}, got {first['input']!r}."
        raise InvalidConfig(what, key=key) from error


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
