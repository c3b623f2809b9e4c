"""The form of Prefect's UI for a flow's parameters, and the check of a deployment's parameters."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from flows.settings.settings_file import Chosen
from flows.settings.training_config import TrainingConfig, parse_config
from models.errors import InvalidConfig

if TYPE_CHECKING:
    from prefect import Flow

_SECTION = re.compile(r"^(?:Attributes|Args):\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.+(?:\n {8,}.+)*)", re.MULTILINE)


def parameter_form(flow: Flow[..., Any]) -> dict[str, Any]:
    """Return the flow's parameters as an OpenAPI schema with a description of every field.

    Prefect includes the descriptions of parameters and of pydantic fields. Those of dataclasses are in their
    docstrings, and are added here.
    """
    from prefect.utilities.callables import parameter_schema

    form = parameter_schema(flow).model_dump(mode="json", exclude_unset=True)
    kinds = {kind.__name__: kind for kind in _kinds(_parameters(flow).values())}
    definitions = form.get("definitions", {})
    for name, definition in definitions.items():
        kind = kinds.get(name)
        if kind is None:
            continue
        definition["description"] = (inspect.getdoc(kind) or "").partition("\n")[0]
        documented = _documented_fields(kind)
        for field, schema in definition.get("properties", {}).items():
            if "description" not in schema and field in documented:
                schema["description"] = documented[field]
    # Prefect has a section's description at the section; the form also needs it at the field that contains
    # it.
    for definition in definitions.values():
        for schema in definition.get("properties", {}).values():
            section = schema.get("$ref", "").rpartition("/")[2]
            if section in definitions:
                schema.setdefault("description", definitions[section].get("description", ""))
    return form


def faults_of_parameters(
    flow: Flow[..., Any], given: Mapping[str, Any], *, complete: bool
) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the faults of a deployment's parameters for its flow, as (path, message).

    Args:
        flow: the flow.
        given: JSON values by name.
        complete: whether every parameter without a default must be given, because nobody fills in a form.
    """
    known = _parameters(flow)
    faults: list[tuple[tuple[str | int, ...], str]] = []
    for name, value in given.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
            faults.append(((name,), f"the flow {flow.name} has no such parameter. {hint}"))
        else:
            faults += [((name, *where), what) for where, what in _faults(known[name], value)]
    for name, parameter in inspect.signature(flow.fn).parameters.items():
        if complete and name not in given and parameter.default is parameter.empty:
            faults.append(((), f"a run without a form needs {name!r}, which has no default."))
    return faults


def _faults(kind: Any, value: Any) -> list[tuple[tuple[str | int, ...], str]]:
    if kind is TrainingConfig and isinstance(value, Mapping):
        try:
            parse_config(value, "config")
        except InvalidConfig as error:
            key = tuple(str(error.facts.get("key", "")).split("."))
            return [(key, f"{error.what} {error.next_step}".strip())]
        return []
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        return [(each["loc"], f"{each['msg']}, got {each['input']!r}.") for each in error.errors()]
    return []


def _parameters(flow: Flow[..., Any]) -> dict[str, Any]:
    """Return the type of each parameter by name."""
    hints = typing.get_type_hints(flow.fn)
    return {name: hints.get(name, Any) for name in inspect.signature(flow.fn).parameters}


def _kinds(annotations: Any) -> Iterator[type]:
    """Yield all pydantic models and dataclasses in these annotations, and in their own fields."""
    for annotation in annotations:
        yield from _kinds(typing.get_args(annotation))
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
            for field in annotation.model_fields.values():
                chosen = [
                    kind for each in field.metadata if isinstance(each, Chosen) for kind in each.kinds()
                ]
                yield from _kinds(chosen or [field.annotation])
        elif isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            yield annotation
            yield from _kinds(typing.get_type_hints(annotation).values())


def _documented_fields(kind: type) -> dict[str, str]:
    """Return the descriptions in the docstrings of a class and its bases by field."""
    sections = [_SECTION.search(inspect.getdoc(each) or "") for each in reversed(kind.__mro__)]
    entries = [entry for section in sections if section for entry in _ENTRY.findall(section[1])]
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}
