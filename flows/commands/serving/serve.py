"""`fedrec serve`: runs the serving process and a publisher."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from flows.commands.promotion.promote import model_option
from flows.commands.serving.publish import drop_options
from flows.terminal.number_option import number_option
from models.errors import InvalidInput

if TYPE_CHECKING:
    from tasks.local.home import Home

TOKEN_VARIABLE = "FEDREC_SERVE_TOKEN"  # noqa: S105
# The publisher looks every few seconds. To lay out a large model takes a minute or two.
_SILENCE_S = 300.0

_SERVICE_OPTIONS = (
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    number_option("--port", click.IntRange(1, 65535), 8080, "Port."),
    number_option("--workers", click.IntRange(min=1), 1, "Processes."),
    number_option(
        "--rate",
        click.FloatRange(min=0),
        200.0,
        "Requests per second that one address may send to one worker; 0 for no limit.",
    ),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help=f"File with the token that clients must send; {TOKEN_VARIABLE} may hold the token instead.",
    ),
    click.option("--quiet", is_flag=True, help="Do not log requests."),
)


def service_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that becomes the service."""
    for option in reversed(_SERVICE_OPTIONS):
        function = option(function)
    return function


@click.command("serve")
@service_options
@number_option(
    "--shadow",
    click.FloatRange(0, 1),
    0.0,
    "Share of requests that the challenger also gets, without replying; MLflow gets the comparison.",
)
@number_option("--canary", click.FloatRange(0, 1), 0.0, "Share of requests that the challenger answers.")
@drop_options
@click.option(
    "--no-publish", is_flag=True, help="Start no publisher, because fedrec publish --watch runs elsewhere."
)
@model_option
def command(
    host: str,
    port: int,
    workers: int,
    rate: float,
    shadow: float,
    canary: float,
    token_file: Path | None,
    max_drop: float | None,
    min_answers: int,
    no_publish: bool,
    quiet: bool,
    model_name: str | None,
) -> None:
    """Serve the champion's recommendations over HTTP from the history in each request; nothing is stored.

    The service answers from one registered model, from its start to its end. With --model it starts fastest,
    and may wait for a model that is not registered yet.

    The command also starts a publisher, which follows the registry: a promotion or rollback takes effect
    within seconds, without a restart and without a failed request. The page is at /, the description of all
    endpoints at /docs and /openapi.json, metrics for Prometheus at /metrics.
    """
    publisher = None
    if not no_publish:
        publisher = (
            [] if max_drop is None else ["--max-drop", str(max_drop), "--min-answers", str(min_answers)]
        )
    become_service(
        model_name,
        host,
        port,
        workers,
        rate,
        token_file,
        publisher,
        shadow=shadow,
        canary=canary,
        access_log=not quiet,
    )


def become_service(
    model_name: str | None,
    host: str,
    port: int,
    workers: int,
    rate: float,
    token_file: Path | None,
    publisher: list[str] | None,
    silo: str | None = None,
    **further: Any,
) -> NoReturn:
    """Replace this process by the service, so that there is one process to watch and to stop.

    Args:
        model_name: the model to serve; None for the only one.
        host, port, workers, rate, token_file: the options of these names.
        publisher: further options of the publisher to start; None for no publisher.
        silo: the silo whose own users are served too, if any.
        further: of `serving.settings.Settings`.

    Raises:
        NotFound: no model is named, and there is none.
        InvalidInput: no model is named, and there are several; or the token is not valid.
    """
    from tasks.bundles.serving_folder import remove_shared_layout, serving_folder
    from tasks.local.environment import apply

    home = apply()
    name = model_name or _only_model(home, model_name, published=publisher is None)
    _require_free(host, port)
    folder = serving_folder(home, name, silo)
    folder.mkdir(parents=True, exist_ok=True)
    token = _token(token_file)
    if not token and host not in ("127.0.0.1", "::1", "localhost"):
        click.echo(
            f"fedrec: other machines can reach {host}, but clients need no token; see --token-file.",
            err=True,
        )
    settings = {
        "folder": str(folder),
        "model_name": name,
        "token": token,
        "rate": rate,
        "burst": 2 * rate,
        "local_users": silo is not None,
        "publisher_silence": 0.0 if publisher is None else _SILENCE_S,
        **further,
    }
    if publisher is not None:
        if remove_shared_layout(home):
            click.echo(
                f"fedrec: an earlier version kept one pointer for all models in {home.serving}. It is "
                "removed, and this model is published again in a folder of its own.",
                err=True,
            )
        _start_publisher(["--model", name, *(["--silo", silo] if silo else []), *publisher])
    os.environ.pop(TOKEN_VARIABLE, None)
    # The package `serving` is not imported here, because commands may not depend on the service.
    os.environ["FEDREC_SERVE_SETTINGS"] = json.dumps(settings)
    click.echo(f"Serving model {name} at http://{host}:{port}; stop with Ctrl-C.", err=True)
    serving = ["-m", "serving", "--host", host, "--port", str(port), "--workers", str(workers)]
    os.execv(sys.executable, [sys.executable, *serving])  # noqa: S606


def _require_free(host: str, port: int) -> None:
    """Raise `InvalidInput` if the service could not listen there.

    The service would find out only after the publisher has started and this command has said that it serves.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            raise InvalidInput(
                f"Nothing can listen at {host}:{port}: {os.strerror(error.errno or 0)}.",
                next_step="Choose another --port or --host, or end what listens there.",
            ) from error


def _only_model(home: Home, model_name: str | None, *, published: bool) -> str:
    # Imported only here: reading the registry takes longer than all else.
    from tasks.publishing.bound_model import bound_model

    return bound_model(home, model_name, published=published)


def _start_publisher(options: list[str]) -> None:
    """Start a publisher that ends with this process or with the service that replaces it."""
    its_end, our_end = os.pipe()
    os.set_inheritable(our_end, True)
    arguments = ["-m", "flows", "publish", "--watch", "--until-stdin-closes", *options]
    # In its own process group: a Ctrl-C in the terminal ends the service, which then ends the publisher.
    subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, *arguments],
        stdin=its_end,
        close_fds=True,
        start_new_session=True,
    )
    os.close(its_end)


def _token(file: Path | None) -> str:
    token = (file.read_text() if file else os.environ.get(TOKEN_VARIABLE, "")).strip()
    if file and not token:
        raise InvalidInput(f"The token file {file} is empty.")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput("A token consists of printable ASCII characters without spaces.")
    return token
