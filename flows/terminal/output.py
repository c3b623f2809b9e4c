"""The output of commands: one JSON object for programs, or text for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and everything else on stderr."
)


def emit(result: Mapping[str, Any], *, as_json: bool, show: Callable[[], None]) -> None:
    """Print `result` on stdout as one JSON object, or call `show` to print it for people."""
    if as_json:
        click.echo(json.dumps(result, indent=2, allow_nan=False))
    else:
        show()
