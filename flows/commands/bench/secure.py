"""`fedrec bench secure`: what secure sums cost."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option


@click.command("secure")
@number_option("--clients", click.IntRange(min=3), 21, "Clients of the job.")
@number_option("--rounds", click.IntRange(min=0), 30, "Rounds of the job; 0 for none.")
@number_option("--silo-rounds", click.IntRange(min=0), 10, "Rounds of three real silos; 0 for none.")
@number_option("--repeats", click.IntRange(min=1), 3, "Times that each sum is timed.")
@click.option("--quick", is_flag=True, help="Small sums and worlds, about a minute.")
@json_option
def command(clients: int, rounds: int, silo_rounds: int, repeats: int, quick: bool, as_json: bool) -> None:
    """Measure secure sums beside plain ones: sums by themselves, a job, and rounds of real silos.

    All members of a timed sum and its coordinator share this process. Jobs with plain and with secure sums
    must make the same models. Other work on the machine distorts seconds, so compare ratios of one run.
    """
    from tasks.bench.secure.jobs import SMALL_WORLD, WORLD, job_row, silos_row
    from tasks.bench.secure.sums import FULL, QUICK, sum_row

    def announce(line: str) -> None:
        click.echo(line, err=True)

    result: dict[str, Any] = {"sums": []}
    for case in QUICK if quick else FULL:
        announce(f"Sums of {case.members} members, {case.values:,} values each.")
        result["sums"].append(sum_row(case, repeats))
    with tempfile.TemporaryDirectory(prefix="fedrec-bench-") as folder:
        if rounds:
            world = SMALL_WORLD if quick else WORLD
            result["job"] = job_row(Path(folder) / "job", clients, rounds, world, announce)
        if silo_rounds:
            result["silos"] = silos_row(Path(folder) / "silos", silo_rounds, announce)
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    for row in result["sums"]:
        parts = ", ".join(f"{name} {seconds:g}" for name, seconds in row["parts_s"].items())
        click.echo(
            f"sum of {row['members']} members, {row['values']:,} values: {row['sum_s']:g} s ({parts}); "
            f"{row['bytes_of_summand']:,} bytes a member"
        )
    if "job" in result:
        row = result["job"]
        click.echo(
            f"job of {row['clients']} clients, {row['rounds']} rounds: plain {row['plain']['job_s']:g} s, "
            f"secure {row['secure']['job_s']:g} s, ratio {row['ratio_job_s']:g} (processor time "
            f"{row['ratio_cpu_s']:g}); bytes up {row['plain']['update_bytes']:,} and "
            f"{row['secure']['update_bytes']:,}"
        )
    if "silos" in result:
        row = result["silos"]
        click.echo(
            f"round of {row['silos']} silos behind a gateway: plain {row['plain']['round_s']:g} s, secure "
            f"{row['secure']['round_s']:g} s, ratio {row['ratio']:g}"
        )
