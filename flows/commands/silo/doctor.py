"""`fedrec silo doctor`: tells a silo's owner what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.terminal.output import emit, json_option


@click.command("doctor")
@click.option("--settings", type=click.Path(path_type=Path, dir_okay=False), help="Default: silo.yaml.")
@click.option("--gateway", metavar="URL", help="Another address of the gateway that this silo has joined.")
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Path | None, gateway: str | None, as_json: bool) -> None:
    """Examine settings, key, disk, data, clock and the connection to the gateway. Nothing leaves the silo.

    Exit code 1 means that something is wrong; its line says what to do.
    """
    from flows.silo.examination import examine
    from tasks.local.home import current_home

    found = examine(current_home(), settings, gateway)
    result: dict[str, Any] = {"ok": all(each.ok for each in found), "checks": [vars(each) for each in found]}

    def show() -> None:
        for each in found:
            click.echo(f"{'ok   ' if each.ok else 'WRONG'}  {each.name}: {each.finding}")
            if each.next_step:
                click.echo(f"       {each.next_step}")

    emit(result, as_json=as_json, show=show)
    if not result["ok"]:
        ctx.exit(1)
