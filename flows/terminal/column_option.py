"""The option `--columns`: what a user's file calls the columns that fedrec needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tasks.tables.column_names import ColumnNames

_EXAMPLES = {"user_id": "customer", "item_id": "sku", "title": "name"}


def columns_option(*own: str) -> Callable[[Any], Any]:
    """Return the option, given the names that it may give to columns."""
    return click.option(
        "--columns",
        "names",
        multiple=True,
        metavar="NAME=COLUMN,...",
        callback=partial(_parsed, own),
        help=f"What the files call {', '.join(own[:-1])} or {own[-1]}. Repeatable.",
    )


def _parsed(
    own: Sequence[str], context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> ColumnNames:
    del context, option
    from tasks.tables.column_names import parsed, written

    try:
        return parsed(texts, own)
    except ValueError as error:
        example = written({name: stored for name, stored in _EXAMPLES.items() if name in own})
        raise click.UsageError(
            f"--columns takes NAME=COLUMN, such as {example}, got {str(error)!r}. "
            f"The names of this command are {', '.join(own)}."
        ) from error
