"""The option `--orders` of the commands that use the database of the gateway's orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from flows.settings.passwords import ITS_PLACE, holds_password
from models.errors import InvalidInput


def orders_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option to a command."""
    option = click.option(
        "--orders",
        metavar="URL",
        callback=_checked,
        help="As runner.orders.  [default: FEDREC_ORDERS, or a file of the home]",
    )
    return option(function)


def _checked(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    if url and holds_password(url):
        raise InvalidInput("--orders contains a password, which everybody here can see.", next_step=ITS_PLACE)
    return url
