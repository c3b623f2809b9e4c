"""`fedrec up`: starts a Prefect server that stays."""

from __future__ import annotations

from typing import Any

import click

from flows.terminal.output import emit, json_option


@click.command("up")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port of 127.0.0.1. Default: PREFECT_PORT, or 4200, or a free port if that is taken.",
)
@json_option
def command(port: int | None, as_json: bool) -> None:
    """Start a Prefect server for this FEDREC_HOME in the background, and wait until it answers.

    Every command on this home then uses it, without a server of its own, until `fedrec down`. It runs
    schedules, and Prefect's pages are at its address. If it runs already, nothing is changed. PREFECT_API_URL
    names another server instead.
    """
    from tasks.local import environment
    from tasks.local.server_note import running_server
    from tasks.orchestration.server import log_path, start_server

    home = environment.apply()
    if running_server(home) is None:
        click.echo("Starting Prefect's server; the first start in a home takes longer.", err=True)
    server, is_new = start_server(home, port)
    result: dict[str, Any] = {**server.to_json(), "started": is_new, "log": str(log_path(home))}

    def show() -> None:
        click.echo(f"Prefect's server {'runs' if is_new else 'ran already'} at {server.url}")
        click.echo(f"Its log is {result['log']}. Stop it with fedrec down.")

    emit(result, as_json=as_json, show=show)
    named = environment.prefect_api_url()
    if named not in (None, server.api_url):
        click.echo(f"fedrec: Commands use PREFECT_API_URL, {named}, as long as it is set.", err=True)
