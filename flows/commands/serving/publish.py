"""`fedrec publish`: publishes the versions that the registry's aliases name to serving processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from flows.commands.promotion.promote import model_option
from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option


def drop_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a command that may roll back."""
    drop = click.option(
        "--max-drop",
        type=click.FloatRange(0, 1, max_open=True),
        help="Roll back if the champion's hit rate, from /v1/feedback, is lower than the previous champion's "
        "by more than this share, beyond random variation. Default: never.",
    )
    answers = number_option(
        "--min-answers",
        click.IntRange(min=1),
        500,
        "With --max-drop: compare only after both have this number of answers.",
    )
    return drop(answers(function))


@click.command("publish")
@model_option
@click.option("--watch", "watching", is_flag=True, help="Keep running and publish each new champion.")
@number_option(
    "--interval",
    click.FloatRange(min=0.1),
    2.0,
    "With --watch: time between two reads of the registry.",
    metavar="SECONDS",
)
@drop_options
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
@click.option("--silo", hidden=True, help="Also publish this silo's own users.")
@click.option("--data", type=click.Path(path_type=Path), hidden=True, help="With --silo: their partition.")
@click.option("--gateway", hidden=True, help="With --silo: follow this gateway, not the registry.")
@json_option
def command(
    model_name: str | None,
    watching: bool,
    interval: float,
    max_drop: float | None,
    min_answers: int,
    until_stdin_closes: bool,
    silo: str | None,
    data: Path | None,
    gateway: str | None,
    as_json: bool,
) -> None:
    """Publish the champion to serving processes that share this FEDREC_HOME.

    The version is verified and written to the model's folder below FEDREC_HOME/serving, as files to be mapped
    into memory. Then a pointer moves to it, which the model's processes follow within a second. A version
    with the alias "challenger" is also published. `fedrec serve` starts this command with --watch by itself.
    """
    from tasks.local import environment

    home = environment.apply()
    users = None
    if silo is not None:
        from tasks.publishing.local_users import lay_out_users
        from tasks.publishing.silo_users import SiloUsers

        users = SiloUsers(silo, partial(lay_out_users, home, silo, data))
    if watching:
        stop = _stopping(until_stdin_closes)
        if gateway and model_name and users:
            from tasks.publishing.from_gateway import follow_gateway

            follow_gateway(home, gateway, model_name, users, interval, stop, _say)
            return
        from models.promotion.live import DropPolicy
        from tasks.publishing.follow_registry import follow_registry

        policy = None if max_drop is None else DropPolicy(max_drop=max_drop, min_answers=min_answers)
        follow_registry(
            home,
            model_name,
            interval,
            stop,
            _say,
            policy,
            _roll_back,
            users,
        )
        return
    from tasks.publishing.bound_model import bound_model
    from tasks.publishing.publish import publish
    from tasks.tracking import registry

    name = bound_model(home, model_name)
    client = registry.open_registry(home)
    pointer = publish(home, client, registry.resolve_model_name(client, name), users)
    result: dict[str, Any] = {
        "champion": pointer.champion.bundle,
        "challenger": pointer.challenger.bundle if pointer.challenger else None,
    }
    emit(result, as_json=as_json, show=lambda: click.echo(f"Published {result['champion']}."))


def _roll_back(model_name: str, reason: str) -> bool:
    """Run `fedrec rollback` in its own process, because Prefect needs much time and memory."""
    named = ["--model", model_name, "--actor", "fedrec publish", "--reason", reason]
    done = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-m", "flows", "rollback", *named], stdin=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


def _say(text: str) -> None:
    click.echo(f"publisher: {text}", err=True)


def _stopping(until_stdin_closes: bool) -> threading.Event:
    """Return an event that is set when this process shall end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if until_stdin_closes:
        threading.Thread(target=_wait_for_end, args=(stop,), daemon=True).start()
    return stop


def _wait_for_end(stop: threading.Event) -> None:
    """Wait until stdin closes, which happens when the process that started this one ends in any way."""
    sys.stdin.buffer.read()
    stop.set()
