"""Options of commands whose value is a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def number_option(
    name: str,
    allowed: click.IntRange | click.FloatRange,
    default: float,
    text: str,
    *,
    metavar: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator that adds an option whose help shows the allowed range and the default.

    Args:
        name: such as `--port`.
        allowed: the range of its values.
        default: the value without the option.
        text: its help.
        metavar: stands for the value in the help; the range's own by default.
    """
    return click.option(name, type=allowed, default=default, show_default=True, metavar=metavar, help=text)
