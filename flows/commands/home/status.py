"""`fedrec status`: shows the server of a home, its jobs, and what they are doing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option


@click.command("status")
@number_option("--jobs", click.IntRange(min=0), 10, "Number of the newest jobs to show.", metavar="N")
@json_option
def command(jobs: int, as_json: bool) -> None:
    """Show Prefect's server, MLflow's place, and the newest jobs of this FEDREC_HOME.

    A job is running, finished, stopped (below its quorum or at a broken contract), or interrupted: then its
    fedrec train command continues it.
    """
    from tasks.jobs.overview import job_states
    from tasks.local import environment
    from tasks.local.server_note import running_server
    from tasks.tracking.registry import tracking_uri

    home = environment.apply()
    server = running_server(home)
    result: dict[str, Any] = {
        "home": str(home.root),
        "server": None if server is None else server.to_json(),
        "prefect_api_url": environment.prefect_api_url(),
        "mlflow": tracking_uri(home),
        "jobs": [each.to_json() for each in job_states(home, jobs)],
    }
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    from flows.terminal.table import Column, print_table

    server, named = result["server"], result["prefect_api_url"]
    click.echo(f"Home     {result['home']}")
    if server is not None:
        click.echo(f"Prefect  {server['url']}, process {server['pid']}, since {server['since']}")
    if named is not None and (server is None or named != server["api_url"]):
        click.echo(f"Prefect  {named}, by PREFECT_API_URL")
    if server is None and named is None:
        click.echo("Prefect  no server; each training job starts its own. fedrec up starts one that stays")
    click.echo(f"MLflow   {result['mlflow']}")
    if not result["jobs"]:
        click.echo("No jobs yet.")
        return
    columns = (
        Column("job"),
        Column("state"),
        Column("rounds", is_number=True),
        Column("opened (UTC)"),
        Column("waiting for MLflow", is_number=True),
    )
    print_table(
        columns,
        [
            (
                job["job_id"],
                job["state"],
                f"{job['round']} of {job['rounds']}",
                job["opened_at"][:16].replace("T", " "),
                str(job["waiting"]),
            )
            for job in result["jobs"]
        ],
    )
