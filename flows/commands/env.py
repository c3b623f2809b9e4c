"""`fedrec env`."""

from __future__ import annotations

import click

from flows.terminal.output import emit, json_option


@click.command("env")
@json_option
def command(as_json: bool) -> None:
    """Print the environment variables of Prefect and MLflow under fedrec, one NAME=VALUE per line.

    Servers and workers that are started with them use the same data as fedrec's own commands:
    sh infra/stack/with-env.sh honcho -f infra/Procfile.ui start

    The server that fedrec up started is among them.
    """
    from tasks.local.environment import settings
    from tasks.local.home import current_home
    from tasks.local.server_note import running_server

    home = current_home()
    found = settings(home)
    if server := running_server(home):
        found["PREFECT_API_URL"] = server.api_url
    emit(found, as_json=as_json, show=lambda: click.echo("\n".join(f"{k}={v}" for k, v in found.items())))
