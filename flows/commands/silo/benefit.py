"""`fedrec silo benefit`: shows whether taking part helped this silo's users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.terminal.output import emit, json_option


@click.command("benefit")
@click.option("--job", "job_id", default=None, metavar="ID", help="Only this job.")
@click.option("--settings", type=click.Path(path_type=Path, dir_okay=False), help="Default: silo.yaml.")
@json_option
def command(job_id: str | None, settings: Path | None, as_json: bool) -> None:
    """Show, for each job, the common model beside one trained on this silo's data alone.

    At the end of a job both recommend to this silo's users, inside the silo, and are judged by interactions
    that neither was trained on.
    """
    from flows.silo.settings import load_silo_settings
    from tasks.local.home import current_home
    from tasks.silos.own_benefit import own_comparisons

    home = current_home()
    silo = load_silo_settings(settings)
    found = own_comparisons(home.silos / silo.name)
    jobs: list[dict[str, Any]] = [
        {
            "job_id": each.job_id,
            "round": each.round,
            "cases": each.benefit.cases,
            "common": dict(each.common),
            "alone": dict(each.alone),
            "benefit": each.benefit.mean,
            "standard_error": each.benefit.standard_error,
            "offer": "the common model" if each.offer == "global" else "the silo's own model",
        }
        for each in found
        if job_id in (None, each.job_id)
    ]
    emit({"jobs": jobs}, as_json=as_json, show=lambda: _show(jobs))


def _show(jobs: list[dict[str, Any]]) -> None:
    from flows.terminal.table import Column, print_table

    if not jobs:
        click.echo(
            "No comparison yet: it is made in the last round of a job. Jobs with noise (privacy.epsilon) "
            "have none."
        )
    for job in jobs:
        click.echo(f"Job {job['job_id']}, round {job['round']}, {job['cases']:,} cases of this silo's users:")
        print_table(
            (
                Column("metric"),
                Column("common model", is_number=True),
                Column("own data alone", is_number=True),
            ),
            [(name, f"{value:.4f}", f"{job['alone'][name]:.4f}") for name, value in job["common"].items()],
        )
        error = job["standard_error"]
        known = "" if error is None else f", with a standard error of {error:.4f}"
        click.echo(f"Common minus alone: {job['benefit']:+.4f} a case{known}.")
        click.echo(f"Better for these users, by other cases: {job['offer']}.\n")
