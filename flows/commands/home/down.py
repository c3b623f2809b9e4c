"""`fedrec down`: stops the Prefect server that `fedrec up` started."""

from __future__ import annotations

from typing import Any

import click

from flows.terminal.output import emit, json_option


@click.command("down")
@json_option
def command(as_json: bool) -> None:
    """Stop the Prefect server that `fedrec up` started for this FEDREC_HOME. Its data stay.

    No other process is stopped. It is no error if no server runs.
    """
    from tasks.local.home import current_home
    from tasks.orchestration.server import stop_server

    stopped = stop_server(current_home())
    result: dict[str, Any] = {"stopped": None if stopped is None else stopped.to_json()}
    text = (
        "No server runs for this home." if stopped is None else f"Stopped Prefect's server at {stopped.url}."
    )
    emit(result, as_json=as_json, show=lambda: click.echo(text))
