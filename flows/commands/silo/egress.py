"""`fedrec silo egress`: shows what left this silo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.terminal.output import emit, json_option
from models.errors import InvalidInput

if TYPE_CHECKING:
    from models.ledger.chain import Entry


@click.command("egress")
@click.option("--job", "job_id", default=None, metavar="ID", help="Only what left for this job.")
@click.option("--verify", is_flag=True, help="Check that the record was not edited; exit code 6 on a fault.")
@click.option(
    "--witness",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="With --verify, the coordinator's witness/NAME.jsonl: check that the record has all heads that this "
    "silo signed.",
)
@json_option
def command(job_id: str | None, verify: bool, witness: Path | None, as_json: bool) -> None:
    """Show what left this silo: amounts and figures for each job, round and kind.

    Every object is recorded in the ledger FEDREC_HOME/egress.jsonl before it leaves. Objects and steps that
    the policy refused are recorded too.
    """
    from tasks.local.home import current_home
    from tasks.silos.egress_ledger import EgressLedger, summarise

    if witness and not verify:
        raise click.UsageError("--witness needs --verify.")
    ledger = EgressLedger(current_home())
    found = ledger.read_verified() if verify else ledger.read()
    result = {
        **summarise(found.entries, job_id),
        "entries": len(found.entries),
        "head": found.entries[-1].hash if found.entries else None,
        "verified": verify,
        **(_compared(found.entries, witness) if witness else {}),
        "torn_bytes": len(found.torn),
    }
    emit(result, as_json=as_json, show=lambda: _show(result, job_id))


def _compared(entries: Sequence[Entry], witness: Path) -> dict[str, int]:
    """Return the number of heads that this silo signed, after checking that the ledger has all of them.

    Answers signed by others' keys are only counted.

    Raises:
        LedgerTampered: the ledger lacks a head.
    """
    from tasks.coordinator.egress_witness import read_witness, require_witnessed, witnessed_answers
    from tasks.local.home import current_home
    from tasks.silos.keys import own_key_ids

    answers = witnessed_answers(read_witness(witness))
    own = own_key_ids(current_home())
    mine = [each for each in answers if each.key_id in own]
    if not mine:
        raise InvalidInput(
            f"{witness} has no answer that is signed by a key of this silo ({', '.join(sorted(own))}).",
            next_step="Get the witness file of this silo from the coordinator.",
        )
    require_witnessed(entries, mine, mine[0].context.silo)
    return {"held": sum(each.counts for each in mine), "signed_by_others": len(answers) - len(mine)}


def _show(result: Mapping[str, Any], job_id: str | None) -> None:
    for_job = f" for job {job_id}" if job_id else ""
    if result["sent"]:
        _show_table(result["sent"])
        _show_noise(result["sent"])
    if result["objects"]:
        click.echo(
            f"{_count(result['objects'], 'object')} of {result['bytes']:,} bytes left this silo{for_job}."
        )
    else:
        click.echo(f"Nothing left this silo{for_job}.")
    for body in result["refused"]:
        # A step that was refused made no object.
        size = f" of {body['bytes']:,} bytes" if body["sha256"] else ""
        click.echo(
            f"Refused {body['at'][:16].replace('T', ' ')}: {body['what']}{size}, "
            f"job {body['job_id']}, round {body['round']}: {body['reason']}."
        )
    if result["verified"]:
        head = f", head {result['head']}" if result["head"] else ""
        click.echo(f"The ledger is intact: {_count(result['entries'], 'entry', 'entries')}{head}.")
    if "held" in result:
        click.echo(f"It has all {_count(result['held'], 'head')} that this silo signed.")
    if others := result.get("signed_by_others"):
        click.echo(f"The witness file also has {_count(others, 'answer')} signed by keys of others.")
    if result["torn_bytes"]:
        click.echo(
            f"The last line is incomplete ({result['torn_bytes']} bytes): its writing was interrupted, and "
            "its object has not left. The next entry moves the line to another file."
        )


def _show_table(rows: list[dict[str, Any]]) -> None:
    from flows.terminal.table import Column, print_table

    print_table(
        (
            Column("job"),
            Column("round", is_number=True),
            Column("what"),
            Column("objects", is_number=True),
            Column("bytes", is_number=True),
            Column("treatment", wraps=True),
            Column("last (UTC)"),
            Column("fields", wraps=True),
        ),
        [
            (
                row["job_id"],
                str(row["round"]),
                row["what"],
                str(row["objects"]),
                f"{row['bytes']:,}",
                ", ".join(row["treatments"]),
                row["last_at"][:16].replace("T", " "),
                ", ".join(row["fields"]),
            )
            for row in rows
        ],
    )


def _show_noise(rows: list[dict[str, Any]]) -> None:
    """Print one line for each job in which the silo added noise."""
    for job_id, noise in {row["job_id"]: row["privacy"] for row in rows if "privacy" in row}.items():
        click.echo(
            f"Job {job_id}: this silo added {noise['own_share']:.1%} of the variance of noise of multiplier "
            f"{noise['multiplier']:.4g}. With the noise of the others each user has epsilon "
            f"{noise['epsilon']:.4g} for delta {noise['delta']:g}."
        )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
