"""`fedrec rollback`: returns to the previous champion."""

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
    """Return to the previous champion.

    Each further rollback goes back one more champion. Champions that were deleted from the registry, or whose
    artefacts are missing, are passed over. The version must still load and score.
    """
    from flows.decide import decide_rollback
    from tasks.local import environment
    from tasks.promotion import ledger
    from tasks.promotion.promote import require_target, standing_of
    from tasks.tracking import registry

    home = environment.apply()
    client = registry.open_registry(home)
    name = registry.resolve_model_name(client, model_name)
    # Checked before Prefect or MLflow is imported, so that a missing target is reported at once.
    entries = ledger.read_verified(home, client, name).entries
    require_target(name, standing_of(client, entries, name))
    by, why = actor_or_user(actor), clean(reason)
    outcome: Any
    if environment.prefect_api_url():
        from flows.promote import rolling_back

        outcome = rolling_back(model_name=name, actor=by, reason=why)
    else:
        outcome = decide_rollback(home, client, name, actor=by, reason=why)
    finish(outcome, as_json)
