"""The option `--columns`: what a user's file calls the columns that fedrec needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tasks.tables.column_names import ColumnNames


def columns_option(what: str) -> Callable[[Any], Any]:
    """Return the option, given the names that it may give to columns, as a list in words."""
    return click.option(
        "--columns",
        "names",
        multiple=True,
        metavar="NAME=COLUMN,...",
        callback=_parsed,
        help=f"What the files call {what}. Repeatable.",
    )


def _parsed(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> ColumnNames:
    del context, option
    from tasks.tables.column_names import NAMES, parsed

    try:
        return parsed(texts)
    except ValueError as error:
        raise click.UsageError(
            f"--columns takes NAME=COLUMN, such as user_id=customer,item_id=sku, got {str(error)!r}. "
            f"Names are {', '.join(NAMES)}."
        ) from error
