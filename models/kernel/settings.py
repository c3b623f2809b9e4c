"""The rule for settings that have no effect beside others: only their defaults are accepted."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from models.errors import InvalidConfig


def defaults_of(kind: type[Any]) -> dict[str, Any]:
    """Return setting -> default, of a dataclass whose fields all have one."""
    return {field.name: field.default for field in fields(kind)}


def as_written(value: object) -> str:
    """Return a setting's value as a configuration file writes null, true and false; others as Python does."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def refuse_without_effect(settings: Any, name: str, other: str, value: object) -> None:
    """Raise `InvalidConfig` unless the setting `name`, which has no effect, has its default.

    Args:
        settings: a dataclass that has the setting.
        name: the setting.
        other: another setting, with whose value `name` has no effect.
        value: that value.
    """
    given, default = getattr(settings, name), defaults_of(type(settings))[name]
    if given != default:
        raise InvalidConfig(
            f"{name} {as_written(given)} has no effect with {other} {as_written(value)}.",
            next_step=f"Leave {name} at {as_written(default)}, or change {other}.",
            key=name,
        )
