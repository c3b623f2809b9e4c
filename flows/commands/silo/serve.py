"""`fedrec silo serve`: runs the serving process inside a silo, with the silo's users."""

from __future__ import annotations

import os
from pathlib import Path

import click

from flows.commands.promotion.promote import model_option
from flows.commands.serving.serve import service_options
from models.errors import NotFound

# Each look at what is promoted is one signed request.
_GATEWAY_INTERVAL_S = 5.0


@click.command("serve")
@click.option("--silo", "name", help="The silo's name.  [default: the one in its settings]")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="A partition with the silo's interactions, instead of the job's snapshot.",
)
@click.option("--gateway", metavar="URL", help="Another address of the gateway that this silo has joined.")
@service_options
@model_option
def command(
    name: str | None,
    data: Path | None,
    gateway: str | None,
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
    user without one is folded in. The champion comes from the gateway that this silo has joined or, without
    one, from the registry (MLFLOW_TRACKING_URI). Everything else works as with fedrec serve.
    """
    from flows.commands.serving.serve import become_service
    from flows.silo.settings import default_settings_path, load_silo_settings

    settings_path = default_settings_path()
    settings = load_silo_settings() if settings_path.exists() else None
    if name is None and settings is None:
        raise NotFound(
            "It is not said whose users to serve: there is no --silo, and no silo's settings at "
            f"{settings_path}.",
            next_step="Name the silo with --silo NAME. With --data PARTITION it is one of the clients there.",
        )
    publisher = ["--data", str(data.absolute())] if data else []
    if gateway or (settings is not None and settings.has_gateway):
        url, model_name = _promoted(gateway, model_name)
        publisher += ["--gateway", url, "--interval", str(_GATEWAY_INTERVAL_S)]
    else:
        _require_registry()
    become_service(
        model_name,
        host,
        port,
        workers,
        rate,
        token_file,
        publisher,
        silo=name or (settings.name if settings else None),
        access_log=not quiet,
    )


def _promoted(url: str | None, model_name: str | None) -> tuple[str, str]:
    """Return the gateway's address, and the model that was named or is the only one to serve."""
    from tasks.local.home import current_home
    from tasks.publishing.from_gateway import chosen_promotion
    from tasks.silos.gateway_client import GatewayClient
    from tasks.silos.joined import joined
    from tasks.silos.keys import load_key

    home = current_home()
    address, key = joined(home).address(url), load_key(home)
    if model_name is None:
        model_name = chosen_promotion(GatewayClient(address, key).promotions(), None).model_name
    return address.url, model_name


def _require_registry() -> None:
    from tasks.local.home import current_home

    registry = current_home().mlflow_database
    if not os.environ.get("MLFLOW_TRACKING_URI") and not registry.exists():
        raise NotFound(
            f"MLFLOW_TRACKING_URI names no registry, and this machine has none at {registry}.",
            next_step="Set MLFLOW_TRACKING_URI to the coordinator's MLflow, such as http://coordinator:5000. "
            "A silo behind a gateway joins it first: fedrec silo join FILE.",
        )
