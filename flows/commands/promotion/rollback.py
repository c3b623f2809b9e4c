"""`fedrec rollback`: the champion before this one serves again."""

from __future__ import annotations

from typing import Any

import click

from flows.commands.promotion.promote import (
    actor_option,
    actor_or_user,
    clean,
    finish,
    model_option,
    reason_option,
)
from flows.terminal.output import json_option


@click.command("rollback")
@model_option
@reason_option
@actor_option
@json_option
def command(model_name: str | None, reason: str, actor: str | None, as_json: bool) -> None:
    """Give serving back to the champion before this one.

    Rolling back again goes one champion further back. The version must still load and score.
    """
    from tasks.local import environment
    from tasks.promotion import ledger
    from tasks.promotion.promote import require_target, standing_of
    from tasks.tracking import registry

    home = environment.apply()
    client = registry.open_registry(home)
    name = registry.resolve_model_name(client, model_name)
    # Asked before Prefect starts, so that a slip is answered at once.
    require_target(name, standing_of(ledger.read_verified(home, client).entries, name))
    click.echo(f"Rolling back {name}; starting Prefect, some seconds.", err=True)
    from flows.promote import rolling_back

    outcome: Any = rolling_back(model_name=name, actor=actor_or_user(actor), reason=clean(reason))
    finish(outcome, as_json)
