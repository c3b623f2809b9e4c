"""`fedrec score`: writes recommendations for all users of a file to one Parquet file."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.commands.promotion.promote import model_option, model_version_option
from flows.terminal.column_option import columns_option
from flows.terminal.next_command import offered
from flows.terminal.output import emit, json_option

if TYPE_CHECKING:
    from tasks.datasets.repeats import Repeats
    from tasks.tables.column_names import ColumnNames

_file = click.Path(path_type=Path, dir_okay=False)
_SECONDS_BETWEEN_LINES = 5.0
_COUNTED = {
    "latest": "the latest of them counts, once (--repeats)",
    "first": "the first of them counts, once (--repeats)",
    "sum": "the latest counts with the sum of their weights (--repeats)",
}


@click.command("score")
@click.option(
    "--users",
    type=_file,
    required=True,
    help="user_id, item_id[, weight, timestamp] of all users, as CSV, TSV or Parquet.",
)
@columns_option("user_id", "item_id", "timestamp", "weight")
@click.option("--out", type=_file, required=True, help="Parquet file to write; replaces an existing file.")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="Items per user.")
@click.option(
    "--weight",
    metavar="COLUMN",
    help='Column of weights, such as rating.  [default: "weight" if there is such a column]',
)
@click.option(
    "--repeats",
    type=click.Choice(["latest", "first", "sum"]),
    default="latest",
    show_default=True,
    help="Which of a user's repeated interactions with an item counts; sum adds weights, or counts.",
)
@model_version_option
@model_option
@json_option
def command(
    users: Path,
    names: ColumnNames,
    out: Path,
    k: int,
    weight: str | None,
    repeats: Repeats,
    version: str,
    model_name: str | None,
    as_json: bool,
) -> None:
    """Recommend items to all users of a file, whose rows may be in any order.

    Each user is folded in from the history in the file, which is not stored. Memory use does not grow with
    the file. The output has one row for each recommended item: user_id, rank, item_id, title, score.
    """
    from tasks.local import environment
    from tasks.promotion.served import chosen
    from tasks.scoring.score_file import score_users

    home = environment.apply()
    name, number = chosen(home, model_name, version)
    # On SIGTERM it exits normally, so that no temporary files with users' histories are left.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    progress = _Progress()
    begun = time.perf_counter()
    try:
        with offered("--columns"):
            result = score_users(
                home,
                users,
                out,
                k,
                model_name=name,
                version=number,
                weight=weight,
                repeats=repeats,
                names=names,
                tell=progress.tell,
            )
    finally:
        progress.end()
    result["seconds"] = round(time.perf_counter() - begun, 2)
    emit(result, as_json=as_json, show=lambda: _show(result))


class _Progress:
    """Shows progress on stderr: one changing line on a terminal, else a line every few seconds."""

    def __init__(self) -> None:
        self._changing = sys.stderr.isatty()
        self._wait = 0.1 if self._changing else _SECONDS_BETWEEN_LINES
        self._last = time.monotonic()
        self._is_open = False

    def tell(self, what: str, done: int, of: int | None) -> None:
        if time.monotonic() - self._last < self._wait:
            return
        self._last = time.monotonic()
        text = f"{done:,} of {of:,} {what}" if of else f"{done:,} {what}"
        if self._changing:
            click.echo(f"\r{text:<60}", nl=False, err=True)
            self._is_open = True
        else:
            click.echo(text, err=True)

    def end(self) -> None:
        if self._is_open:
            click.echo(err=True)


def _show(result: Mapping[str, Any]) -> None:
    click.echo(
        f"{result['model_name']} version {result['version']}: {result['recommendations']:,} recommendations "
        f"for {result['users']:,} users are in {result['out']}"
    )
    if result["repeats"]:
        click.echo(f"{result['repeats']:,} rows repeat a user's item: {_COUNTED[result['repeats_rule']]}.")
    if result["unknown_items"]:
        click.echo(
            f"{result['unknown_interactions']:,} of {result['interactions']:,} interactions were left out, "
            f"because the model does not know their {result['unknown_items']:,} items."
        )
    if result["users_without_known_items"]:
        click.echo(
            f"{result['users_without_known_items']:,} users have no item that the model knows, and got "
            "popular items."
        )
