"""`fedrec housekeeping`: ends what died, and removes what finished jobs no longer need."""

from __future__ import annotations

from typing import Any

import click

from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option


@click.command("housekeeping")
@number_option(
    "--keep-jobs",
    click.IntRange(min=0),
    20,
    "Number of the newest finished jobs whose report and answers of silos stay.",
)
@click.option(
    "--keep-rounds",
    type=click.IntRange(min=1),
    help="Remove older rounds than the newest N of each finished job from MLflow: their versions and models. "
    "Versions that are or were champion, and those with an alias, stay. Default: remove none.",
    metavar="N",
)
@click.option("--dry-run", is_flag=True, help="Only show the rounds that --keep-rounds would remove.")
@json_option
def command(keep_jobs: int, keep_rounds: int | None, dry_run: bool, as_json: bool) -> None:
    """Correct the records of dead processes, and remove files that finished jobs no longer need.

    The deployment housekeeping/nightly does the same by a schedule.
    """
    from tasks.local import environment

    environment.apply()
    from flows.housekeeping import housekeeping

    outcome: Any = housekeeping(keep_jobs=keep_jobs, keep_rounds=keep_rounds, dry_run=dry_run)
    emit(outcome, as_json=as_json, show=lambda: _show(outcome))


def _show(outcome: dict[str, Any]) -> None:
    removed: dict[str, list[int]] = outcome["rounds_removed"]
    would = "Would remove" if outcome.get("dry_run") else "Removed"
    for job_id, rounds in removed.items():
        listed = ", ".join(map(str, rounds))
        click.echo(f"{would} from MLflow: job {job_id}, {len(rounds)} rounds: {listed}.")
    if outcome.get("dry_run"):
        click.echo(f"{sum(map(len, removed.values()))} rounds would be removed; nothing was changed.")
        return
    for name, text in (
        ("told_late", "Sent to MLflow"),
        ("killed_jobs", "Ended in MLflow"),
        ("crashed_flow_runs", "Ended in Prefect"),
        ("ended_servers", "Stopped servers"),
        ("answers_removed", "Removed answers of silos of"),
        ("reports_removed", "Removed reports of"),
    ):
        if outcome[name]:
            click.echo(f"{text}: {', '.join(outcome[name])}.")
    click.echo(f"Removed {outcome['models_removed']} superseded models from the exchange.")
