"""`fedrec witness`: what the silos signed about their egress ledgers, as the coordinator has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flows.commands.promotion.promote import actor_option, actor_or_user
from flows.terminal.output import emit, json_option
from models.errors import NotFound


@click.command("witness")
@click.argument("silo", required=False)
@click.option("--job", "job_id", default=None, metavar="ID", help="Only what was signed for this job.")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The egress.jsonl of SILO, or a copy: check that it holds all of it; exit code 6 on a fault.",
)
@click.option("--restart", "reason", metavar="REASON", help="Accept that the ledger of SILO begins anew.")
@actor_option
@json_option
def command(
    silo: str | None,
    job_id: str | None,
    ledger: Path | None,
    reason: str | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Show the heads of the silos' egress ledgers that they signed, by round. Run by the coordinator.

    Each answer of a silo carries the number of entries and the hash of the last entry that its ledger had
    before the answer left. A ledger that was cut off or written anew does not hold them.
    """
    if silo and ledger and not (job_id or reason):
        _check(silo, ledger, as_json)
    elif silo and reason and not (job_id or ledger):
        _restart(silo, reason, actor_or_user(actor), as_json)
    elif not (ledger or reason):
        _list(silo, job_id, as_json)
    else:
        raise click.UsageError("Give one of: [SILO] [--job ID], SILO --ledger FILE, SILO --restart REASON.")


def _list(silo: str | None, job_id: str | None, as_json: bool) -> None:
    from tasks.coordinator.egress_witness import told_in, witnesses
    from tasks.local.home import current_home

    known = [each for each in witnesses(current_home()) if silo in (None, each.silo)]
    if silo and not known:
        raise _unknown(silo)
    entries = {each.silo: each.read_verified() for each in known}
    result = {
        "told": [
            told.as_json()
            for found in entries.values()
            for told in told_in(found)
            if job_id in (None, told.question.job_id)
        ],
        "restarts": [
            {"silo": name, **entry.body}
            for name, found in entries.items()
            for entry in found
            if entry.body["type"] == "restart"
        ],
    }
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not result["told"]:
        click.echo("No silo signed anything about its egress ledger yet; their answers in a job do.")
        return
    table = Table(box=box.SIMPLE)
    for heading in ("silo", "job", "round", "answer to", "entries", "head", "kept (UTC)"):
        table.add_column(
            heading, justify="right" if heading in ("round", "entries") else "left", overflow="fold"
        )
    for row in result["told"]:
        since = "" if row["counts"] else ", before a new beginning"
        table.add_row(
            row["silo"],
            row["job_id"],
            str(row["round"]),
            row["kind"],
            f"{row['count']:,}",
            row["sha256"][:12] + since,
            row["at"][:16].replace("T", " "),
        )
    Console().print(table)
    for row in result["restarts"]:
        at = row["at"][:16].replace("T", " ")
        click.echo(f"{row['silo']} began anew on {at}, accepted by {row['actor']}: {row['reason']}")


def _check(silo: str, ledger: Path, as_json: bool) -> None:
    from tasks.coordinator.egress_witness import Witness, require_told, told_in
    from tasks.local.home import current_home
    from tasks.silos.egress_ledger import read_ledger

    witness = Witness(current_home(), silo)
    if not witness.path.exists():
        raise _unknown(silo)
    told = told_in(witness.read_verified())
    entries = read_ledger(ledger)
    require_told(entries, told, silo)
    held = sum(each.counts for each in told)
    result = {"silo": silo, "entries": len(entries), "told": len(told), "held": held}

    def show() -> None:
        click.echo(
            f"The ledger of {silo} has {len(entries):,} entries and holds all {held:,} heads it signed."
        )
        if held < len(told):
            click.echo(f"{len(told) - held:,} older ones are from before a new beginning that was accepted.")

    emit(result, as_json=as_json, show=show)


def _restart(silo: str, reason: str, actor: str, as_json: bool) -> None:
    from tasks.coordinator.egress_witness import Witness
    from tasks.local.home import current_home

    witness = Witness(current_home(), silo)
    if not witness.path.exists():
        raise _unknown(silo)
    witness.restart(reason, actor)
    emit(
        {"silo": silo, "reason": reason, "actor": actor},
        as_json=as_json,
        show=lambda: click.echo(
            f"The egress ledger of {silo} may begin anew; what it signed until now stays on record."
        ),
    )


def _unknown(silo: str) -> NotFound:
    return NotFound(
        f"Silo {silo!r} never answered this coordinator.",
        next_step="fedrec witness shows the silos that did.",
        silo=silo,
    )
