"""`fedrec silo start`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from models.errors import NotFound


@click.command("start")
@click.option("--silo", "name", help="The silo's name; must equal the one in its settings.")
@click.option("--settings", type=click.Path(path_type=Path, dir_okay=False), help="Default: silo.yaml.")
@click.option("--gateway", metavar="URL", help="Another address of the gateway that this silo has joined.")
def command(name: str | None, settings: Path | None, gateway: str | None) -> None:
    """Run this silo's steps on its data until stopped.

    The silo gets its orders from the gateway that it has joined or, if its settings name one, from the
    coordinator's Prefect, as a worker. It needs no open port. Its settings say what may leave it, and `fedrec
    silo egress` shows what left.
    """
    from flows.silo.settings import SETTINGS_VARIABLE, default_settings_path, load_silo_settings
    from tasks.local.environment import apply
    from tasks.local.home import current_home
    from tasks.silos.keys import load_key

    path = (settings or default_settings_path()).absolute()
    silo = load_silo_settings(path)
    if name is not None and name != silo.name:
        raise NotFound(f"{path} has the settings of silo {silo.name!r}, not of {name!r}.")
    if silo.has_gateway:
        from flows.silo.agent import serve as serve_orders

        home = current_home()
        click.echo(f"Silo {silo.name} runs from {home.root}; stop it with Ctrl-C.", err=True)
        serve_orders(silo, home, gateway)
        return
    home = apply()
    load_key(current_home())  # without a key, the coordinator would accept no answer
    os.environ |= {
        SETTINGS_VARIABLE: str(path),
        "PREFECT_API_URL": str(silo.prefect_api_url),
        # Logs stay here, because they may contain data.
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        # A round waits for the slowest silo to notice its order.
        "PREFECT_WORKER_QUERY_SECONDS": os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "0.5"),
    }
    click.echo(f"Silo {silo.name} runs from {home.root}; stop it with Ctrl-C.", err=True)
    from flows.silo.worker import serve  # Prefect reads its settings when it is imported

    serve(f"silo-{silo.name}")
