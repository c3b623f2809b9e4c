"""`fedrec witness`: the heads that silos signed about their egress ledgers, as the coordinator kept them."""

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
@click.option("--job", "job_id", default=None, metavar="ID", help="Only heads signed for this job.")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The egress.jsonl of SILO or a copy: check that it has all signed heads; exit code 6 on a fault.",
)
@click.option("--restart", "reason", metavar="REASON", help="Accept a new ledger of SILO.")
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
    """Show the heads that silos signed about their egress ledgers. The coordinator runs this command.

    Each answer of a silo contains the number of entries and the hash of the last entry of its ledger just
    before the answer left. A ledger that was truncated or rewritten does not have them.
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
    from tasks.coordinator.egress_witness import witnessed_answers, witnesses
    from tasks.local.home import current_home

    known = [each for each in witnesses(current_home()) if silo in (None, each.silo)]
    if silo and not known:
        raise _unknown(silo)
    entries = {each.silo: each.read_verified() for each in known}
    result = {
        "told": [
            answer.as_json()
            for found in entries.values()
            for answer in witnessed_answers(found)
            if job_id in (None, answer.context.job_id)
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
    from flows.terminal.table import Column, print_table

    if not result["told"]:
        click.echo(
            "No silo has signed a head of its egress ledger yet. Silos sign one with each answer in a job."
        )
        return
    print_table(
        (
            Column("silo"),
            Column("job"),
            Column("round", is_number=True),
            Column("answer to"),
            Column("entries", is_number=True),
            Column("head"),
            Column("ledger"),
            Column("kept (UTC)"),
        ),
        [
            (
                row["silo"],
                row["job_id"],
                str(row["round"]),
                row["kind"],
                f"{row['count']:,}",
                row["sha256"],
                "current" if row["counts"] else "earlier",
                row["at"][:16].replace("T", " "),
            )
            for row in result["told"]
        ],
    )
    for row in result["restarts"]:
        at = row["at"][:16].replace("T", " ")
        click.echo(f"New ledger of {row['silo']} on {at}, accepted by {row['actor']}: {row['reason']}")


def _check(silo: str, ledger: Path, as_json: bool) -> None:
    from tasks.coordinator.egress_witness import SiloWitness, require_witnessed, witnessed_answers
    from tasks.local.home import current_home
    from tasks.silos.egress_ledger import read_ledger

    witness = SiloWitness(current_home(), silo)
    if not witness.path.exists():
        raise _unknown(silo)
    answers = witnessed_answers(witness.read_verified())
    entries = read_ledger(ledger)
    require_witnessed(entries, answers, silo)
    held = sum(each.counts for each in answers)
    result = {"silo": silo, "entries": len(entries), "told": len(answers), "held": held}

    def show() -> None:
        click.echo(
            f"The ledger of {silo} has {len(entries):,} entries and all {held:,} heads that the silo signed."
        )
        if held < len(answers):
            click.echo(f"{len(answers) - held:,} other heads are of an earlier ledger.")

    emit(result, as_json=as_json, show=show)


def _restart(silo: str, reason: str, actor: str, as_json: bool) -> None:
    from tasks.coordinator.egress_witness import SiloWitness
    from tasks.local.home import current_home

    witness = SiloWitness(current_home(), silo)
    if not witness.path.exists():
        raise _unknown(silo)
    witness.restart(reason, actor)
    emit(
        {"silo": silo, "reason": reason, "actor": actor},
        as_json=as_json,
        show=lambda: click.echo(
            f"The next egress ledger of {silo} is accepted as new; the heads signed so far stay on record."
        ),
    )


def _unknown(silo: str) -> NotFound:
    return NotFound(
        f"Silo {silo!r} never answered this coordinator.",
        next_step="Run fedrec witness to see the silos that did.",
        silo=silo,
    )
