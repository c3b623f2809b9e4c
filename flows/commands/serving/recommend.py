"""`fedrec recommend`: recommends items for a history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from flows.commands.promotion.promote import model_option, model_version_option
from flows.terminal.output import emit, json_option


@click.command("recommend")
@click.option(
    "--history",
    default="",
    metavar="ITEMS",
    help="Items that the user liked: titles or ids, separated by commas. An id comes before a title.",
)
@click.option(
    "--item",
    "items",
    multiple=True,
    metavar="ITEM",
    help="One further item of the history: a whole title or an id, which may contain commas. Repeatable.",
)
@click.option(
    "-k", "k", type=click.IntRange(min=1), default=10, show_default=True, help="Number of recommendations."
)
@model_version_option
@click.option("--exclude", default="", metavar="ITEMS", help="Further items not to recommend.")
@model_option
@json_option
def command(
    history: str,
    items: tuple[str, ...],
    k: int,
    version: str,
    exclude: str,
    model_name: str | None,
    as_json: bool,
) -> None:
    """Recommend items for a history by fold-in. Nothing is trained or stored.

    Items that the model does not know are left out with a note on stderr. It is an error if none is known.
    """
    from tasks.local import environment

    if not history.strip(" ,") and not items:
        raise click.UsageError("Name at least one item with --history or --item.")
    from tasks.promotion.served import chosen
    from tasks.scoring.recommend import answer

    home = environment.apply()
    name, number = chosen(home, model_name, version)
    result = answer(home, history, k, model_name=name, version=number, exclude=exclude, items=items)
    for note in result["notes"]:
        click.echo(f"fedrec: {note}", err=True)
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    seen = "; ".join(item["title"] for item in result["history"])
    click.echo(f"{result['model_name']} version {result['version']}, for: {seen}")
    width = len(str(len(result["recommendations"])))
    for item in result["recommendations"]:
        click.echo(f"{item['rank']:>{width}}  {item['title']}  [id {item['item_id']}]  {item['score']:.3f}")
