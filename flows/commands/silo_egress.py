"""`fedrec silo egress`: what left this silo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from flows.output import emit, json_option


@click.command("egress")
@click.option("--job", "job_id", default=None, metavar="ID", help="Only what left for this job.")
@click.option("--verify", is_flag=True, help="Check that nobody edited the record; exit code 6 on a fault.")
@json_option
def command(job_id: str | None, verify: bool, as_json: bool) -> None:
    """Show what left this silo: for each job, round and kind how much, and which figures.

    Everything stands in the ledger FEDREC_HOME/egress.jsonl before it leaves, and what the policy refused
    stands there too.
    """
    from tasks.egress import EgressLedger, summarise
    from tasks.home import current_home

    ledger = EgressLedger(current_home())
    found = ledger.read_verified() if verify else ledger.read()
    result = {
        **summarise(found.entries, job_id),
        "entries": len(found.entries),
        "head": found.entries[-1].hash if found.entries else None,
        "verified": verify,
        "torn_bytes": len(found.torn),
    }
    emit(result, as_json=as_json, show=lambda: _show(result, job_id))


def _show(result: Mapping[str, Any], job_id: str | None) -> None:
    for_job = f" for job {job_id}" if job_id else ""
    if result["sent"]:
        _show_table(result["sent"])
    if result["objects"]:
        click.echo(
            f"{_count(result['objects'], 'object')} of {result['bytes']:,} bytes left this silo{for_job}."
        )
    else:
        click.echo(f"Nothing left this silo{for_job}.")
    for body in result["refused"]:
        click.echo(
            f"Refused {body['at'][:16].replace('T', ' ')}: {body['what']} of {body['bytes']:,} bytes, "
            f"job {body['job_id']}, round {body['round']}: {body['reason']}."
        )
    if result["verified"]:
        head = f", head {result['head']}" if result["head"] else ""
        click.echo(f"The ledger holds: {_count(result['entries'], 'entry', 'entries')}{head}.")
    if result["torn_bytes"]:
        click.echo(
            f"The last line was cut off in writing ({result['torn_bytes']} bytes): what it was about has "
            "not left. The next entry puts it aside."
        )


def _show_table(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for heading in ("job", "round", "what", "objects", "bytes", "treatment", "last (UTC)", "fields"):
        right = heading in ("round", "objects", "bytes")
        table.add_column(
            heading, justify="right" if right else "left", no_wrap=heading != "fields", overflow="fold"
        )
    for row in rows:
        cells = (
            row["job_id"],
            str(row["round"]),
            row["what"],
            str(row["objects"]),
            f"{row['bytes']:,}",
            ", ".join(row["treatments"]),
            row["last_at"][:16].replace("T", " "),
            ", ".join(row["fields"]),
        )
        table.add_row(*(cell.replace("[", r"\[") for cell in cells))
    Console().print(table)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
