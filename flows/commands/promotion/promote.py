"""`fedrec promote`: a version goes through the gates and, where all pass, becomes the champion."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any

import click

from flows.terminal.output import emit, json_option
from models.errors import PromotionRefused

model_option = click.option(
    "--model", "model_name", metavar="NAME", help="Registered model; needed only where there are several."
)
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; kept in the ledger.")
actor_option = click.option(
    "--actor", default=None, metavar="NAME", help="Who asks; kept in the ledger. Default: the OS user."
)


@click.command("promote")
@model_option
@click.option(
    "--version", type=click.IntRange(min=1), help="Candidate; default: the newest version that was evaluated."
)
@reason_option
@actor_option
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.02,
    show_default=True,
    help="Share of the champion's NDCG@10 on validation that the candidate may lack, or more of its RMSE.",
)
@click.option(
    "--max-client-drop",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of its value under the champion that a single client may lose, beyond chance.",
)
@json_option
def command(
    model_name: str | None,
    version: int | None,
    reason: str,
    actor: str | None,
    tolerance: float,
    max_client_drop: float,
    as_json: bool,
) -> None:
    """Put a version through the gates and make it champion.

    Gates: the round's contracts passed; the artefact loads and scores; quality against the champion within a
    tolerance; no client falls too far. A refusal is written to the ledger too, and ends with exit code 4.
    """
    from tasks.local import environment
    from tasks.promotion import ledger
    from tasks.tracking import outbox_sender, registry

    home = environment.apply()
    client = registry.open_registry(home)
    outbox_sender.send_what_waits(home)  # the newest version may be among it
    name = registry.resolve_model_name(client, model_name)
    # Asked before Prefect starts, so that a slip is answered at once.
    candidate = version or registry.require_evaluated(client, name)
    registry.tags_of(client, name, candidate)
    ledger.read_verified(home, client)
    click.echo(f"Promoting version {candidate} of {name}; starting Prefect, some seconds.", err=True)
    from flows.promote import promotion

    outcome: Any = promotion(
        model_name=name,
        version=candidate,
        actor=actor_or_user(actor),
        reason=clean(reason),
        tolerance=tolerance,
        max_client_drop=max_client_drop,
    )
    finish(outcome, as_json)


def finish(outcome: Mapping[str, Any], as_json: bool) -> None:
    """The outcome is printed, and a refusal ends the command with its exit code."""
    for repaired in outcome["repaired"]:
        click.echo(f"Repaired first: {repaired}.", err=True)
    emit(outcome, as_json=as_json, show=lambda: _show(outcome))
    if not outcome["promoted"]:
        # Not an error to raise: the outcome is the one object on stdout.
        raise SystemExit(PromotionRefused.exit_code)


def actor_or_user(actor: str | None) -> str:
    """The named actor, or the user that runs this process."""
    if actor:
        return clean(actor)
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"


def clean(text: str) -> str:
    """The text with undecodable bytes of the command line replaced, so that it can be hashed as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _show(outcome: Mapping[str, Any]) -> None:
    name, version = outcome["model_name"], outcome["version"]
    if outcome["already_champion"]:
        click.echo(f"Version {version} of {name} is the champion already; nothing was changed.")
        return
    for verdict in outcome["verdicts"]:
        click.echo(f"{'pass' if verdict['passed'] else 'FAIL'}  {verdict['gate']:<10} {verdict['observed']}")
        if not verdict["passed"]:
            click.echo(f"      required:  {verdict['required']}")
    if outcome["promoted"]:
        instead = f" instead of version {outcome['previous']}" if outcome["previous"] else ""
        click.echo(f"Version {version} of {name} is the champion now{instead}.")
    else:
        stays = f"version {outcome['previous']} stays" if outcome["previous"] else "there is still none"
        click.echo(f"Refused: version {version} of {name} does not become champion; {stays}.")
    click.echo(f"Decision {outcome['decision_id'][:12]} by {outcome['actor']}, {outcome['decided_at']}.")
