"""Reads a YAML file of settings into its type. An unknown key is an error, never ignored."""

from __future__ import annotations

import difflib
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.fields import FieldInfo

from flows.settings.passwords import holds_password
from models.errors import InvalidConfig, InvalidInput
from models.kernel.settings import as_written
from tasks.local.home import current_home


class Section(BaseModel):
    """A part of a file of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    moved: ClassVar[Mapping[str, str]] = {}  # dotted key of an earlier version -> its current key

    @field_validator("*", mode="before")
    @classmethod
    def _fill_empty_section(cls, value: Any, info: ValidationInfo) -> Any:
        """Return no keys for a section that YAML reads as null, because all of its lines are comments."""
        return {} if value is None and _is_section(cls.model_fields[info.field_name or ""]) else value

    @field_validator("*", mode="wrap")
    @classmethod
    def _name_the_key(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Raise the error of a nested dataclass again, with its key relative to this section."""
        try:
            return handler(value)
        except InvalidInput as error:
            key = ".".join(filter(None, (info.field_name, error.facts.get("key"))))
            raise type(error)(error.what, next_step=error.next_step, **{**error.facts, "key": key}) from error


class Chosen(ABC):
    """Marks a field whose type depends on its value. Put it in the field's `Annotated`."""

    @abstractmethod
    def kind_of(self, raw: Mapping[Any, Any]) -> type | None:
        """Return the type that these keys and values choose; None if there is no such type."""

    @abstractmethod
    def kinds(self) -> Collection[type]:
        """Return all types to choose from."""


Settings = TypeVar("Settings", bound=Section)


def read_yaml(path: Path, what: str, *, next_step: str = "") -> dict[str, Any]:
    """Return the keys and values of a YAML file.

    Args:
        path: the file.
        what: the file's name in errors, such as "The configuration".
        next_step: the next step if it cannot be read.

    Raises:
        InvalidConfig: the file cannot be read, is not YAML, or contains no keys and values.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        # No cause is chained: YAML's own message quotes the line, and that line may hold a secret.
        raise InvalidConfig(f"{what} {path} cannot be read: {_why(error)}.", next_step=next_step) from None
    if not isinstance(raw, dict):
        raise InvalidConfig(f"{what} {path} contains a {type(raw).__name__}, expected keys and values.")
    return raw


def validated(
    kind: type[Settings], raw: Mapping[str, Any], origin: str, *, private: Collection[str] = ()
) -> Settings:
    """Return the settings that these JSON values describe.

    Args:
        kind: the type of the settings.
        raw: nested keys and values.
        origin: the name of the settings in errors.
        private: sections whose values are never shown in errors. No password is shown in any.

    Raises:
        InvalidConfig: a key is unknown (the error suggests the nearest), or a value is out of range.
    """
    _refuse_unknown(raw, kind, origin, "")
    try:
        settings = kind.model_validate(raw)
    except InvalidInput as error:
        what = f"{origin}: {error.facts['key']}: {error.what}"
        raise type(error)(what, next_step=error.next_step, **error.facts) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        value = first["input"]
        hidden = key.split(".", maxsplit=1)[0] in private or (
            isinstance(value, str) and holds_password(value)
        )
        got = "" if hidden else f", got {as_written(value)}"
        what = f"{origin}: {key}: {first['msg'].removeprefix('Value error, ')}{got}."
        raise InvalidConfig(what, key=key) from (None if hidden else error)
    _refuse_odd_numbers(raw, settings, origin, "")
    return settings


def absolute_folder(text: str) -> Path:
    """Return the folder that `text` names, with `~`, `$FEDREC_HOME` and other variables replaced.

    The path is absolute, because a flow may run in another working directory. An absolute path that exists is
    returned as it is: a folder's name may have a `$`.
    """
    if text.startswith("/") and Path(text).exists():
        return Path(text).resolve()
    os.environ.setdefault("FEDREC_HOME", str(current_home().root))
    return Path(os.path.expandvars(text)).expanduser().resolve()


def _why(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at offset {error.start}"
    return " ".join(str(error).split())


def _refuse_unknown(raw: object, kind: Any, origin: str, prefix: str) -> None:
    """Raise `InvalidConfig` at the first key that `kind` does not have, and suggest the nearest known key."""
    if not isinstance(raw, Mapping):
        return  # pydantic explains a wrong type
    if get_origin(kind) is dict:
        for key, value in raw.items():  # any key will do
            _refuse_unknown(value, get_args(kind)[1], origin, f"{prefix}{key}.")
        return
    if isinstance(kind, type) and issubclass(kind, Section):
        _refuse_moved(raw, kind.moved, origin, prefix)
    if isinstance(kind, Chosen):
        kind = kind.kind_of(raw)
        if kind is None:
            return  # pydantic explains a wrong choice
    known = _known_keys(kind, raw)
    for key, value in raw.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean {prefix}{near[0]}?" if near else f"Known keys: {', '.join(known)}."
            raise InvalidConfig(f"{origin}: unknown key {prefix}{key}.", next_step=hint, key=f"{prefix}{key}")
        _refuse_unknown(value, known[key], origin, f"{prefix}{key}.")


def _refuse_odd_numbers(raw: Any, settings: Any, origin: str, key: str) -> None:
    """Raise `InvalidConfig` at the first true or false that was read as a number, and at infinity and NaN.

    pydantic accepts both for numbers.
    """
    if isinstance(raw, Mapping):
        for name, value in raw.items():
            read = settings.get(name) if isinstance(settings, Mapping) else getattr(settings, str(name), None)
            _refuse_odd_numbers(value, read, origin, f"{key}.{name}" if key else str(name))
    elif isinstance(raw, list | tuple) and isinstance(settings, list | tuple):
        for index, (value, read) in enumerate(zip(raw, settings, strict=False)):
            _refuse_odd_numbers(value, read, origin, f"{key}.{index}")
    elif isinstance(raw, bool) and type(settings) in (int, float):
        raise InvalidConfig(f"{origin}: {key}: expected a number, got {as_written(raw)}.", key=key)
    elif isinstance(settings, float) and not math.isfinite(settings):
        raise InvalidConfig(f"{origin}: {key}: expected a finite number, got {raw!r}.", key=key)


def _refuse_moved(raw: Mapping[Any, Any], moved: Mapping[str, str], origin: str, prefix: str) -> None:
    """Raise `InvalidConfig` at the first renamed key, and name the new one."""
    for old, new in moved.items():
        section, _, name = old.rpartition(".")
        place = raw.get(section) if section else raw
        if isinstance(place, Mapping) and name in place:
            raise InvalidConfig(
                f"{origin}: {prefix}{old} has moved to {prefix}{new}.",
                next_step=f"Set {prefix}{new}.",
                key=f"{prefix}{old}",
            )


def _is_section(field: FieldInfo) -> bool:
    kind = field.annotation
    is_model = isinstance(kind, type) and (issubclass(kind, Section) or is_dataclass(kind))
    return is_model or any(isinstance(each, Chosen) for each in field.metadata)


def _known_keys(kind: Any, raw: Mapping[Any, Any]) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {
            name: next((each for each in field.metadata if isinstance(each, Chosen)), field.annotation)
            for name, field in kind.model_fields.items()
        }
    if is_dataclass(kind):
        return {field.name: object for field in fields(kind)}
    # A section that may be absent is a union of its type and None.
    return next((keys for each in get_args(kind) if (keys := _known_keys(each, raw))), {})
