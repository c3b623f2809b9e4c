"""`fedrec silo serve`: runs the serving process inside a silo, with the silo's users."""

from __future__ import annotations

import os
from pathlib import Path

import click

from flows.commands.promotion.promote import model_option
from flows.commands.serving.serve import service_options
from models.errors import NotFound


@click.command("serve")
@click.option("--silo", "name", help="The silo's name.  [default: the one in its settings]")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="A partition with the silo's interactions, instead of the job's snapshot.",
)
@service_options
@model_option
def command(
    name: str | None,
    data: Path | None,
    host: str,
    port: int,
    workers: int,
    rate: float,
    token_file: Path | None,
    quiet: bool,
    model_name: str | None,
) -> None:
    """Serve the champion inside a silo, with recommendations for its own users by user id.

    POST /v1/users/{user_id}/recommendations uses the user's trained embedding, which never leaves the silo. A
    user without one is folded in. The model's items come from the registry (MLFLOW_TRACKING_URI). Everything
    else works as with fedrec serve.
    """
    from flows.commands.serving.serve import become_service
    from flows.silo.settings import default_settings_path, load_silo_settings
    from tasks.local.home import current_home

    registry = current_home().mlflow_database
    if not os.environ.get("MLFLOW_TRACKING_URI") and not registry.exists():
        raise NotFound(
            f"MLFLOW_TRACKING_URI names no registry, and this machine has none at {registry}.",
            next_step="Set MLFLOW_TRACKING_URI to the coordinator's MLflow, such as http://coordinator:5000.",
        )
    settings = default_settings_path()
    if name is None and not settings.exists():
        raise NotFound(
            f"It is not said whose users to serve: there is no --silo, and no silo's settings at {settings}.",
            next_step="Name the silo with --silo NAME. With --data PARTITION it is one of the clients there.",
        )
    become_service(
        model_name,
        host,
        port,
        workers,
        rate,
        token_file,
        ["--data", str(data.absolute())] if data else [],
        silo=name or load_silo_settings().name,
        access_log=not quiet,
    )
