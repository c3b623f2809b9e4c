"""Single values that the command line sets: `--set train.dims=64`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from models.errors import InvalidConfig

_PATH_STARTS = ("/", "~/", "./", "../", "$")


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set the key of `key=value` in nested keys and values; the key has dots, and the value is YAML.

    Raises:
        InvalidConfig: it is not of that form.
    """
    key, value = _parsed(override)
    *parents, last = key.split(".")
    for parent in parents:
        # A section whose keys are all commented out is empty in YAML.
        raw[parent] = {} if raw.get(parent) is None else raw[parent]
        raw = raw[parent]
        if not isinstance(raw, dict):
            raise InvalidConfig(f"--set {override}: {parent!r} is a value and has no keys below it.", key=key)
    raw[last] = value


def check_overrides(overrides: Iterable[str]) -> None:
    """Raise `InvalidConfig` unless each is a key and a YAML value. It does not look at what the keys mean."""
    for override in overrides:
        _parsed(override)


def _parsed(override: str) -> tuple[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not all(key.split(".")):
        raise InvalidConfig(f"--set needs key=value, got {override!r}.", next_step="Try --set train.dims=64.")
    try:
        # A path is taken as it is: in YAML, " #" would begin a comment and ": " a section.
        return key, text if text.startswith(_PATH_STARTS) else yaml.safe_load(text)
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())
        raise InvalidConfig(f"--set {override}: the value is not YAML: {what}.", key=key) from error
