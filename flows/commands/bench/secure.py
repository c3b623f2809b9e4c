"""`fedrec bench secure`: what secure sums cost."""

from __future__ import annotations

import contextlib
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
@click.option(
    "--flower",
    is_flag=True,
    help="Also measure sums by Flower's SecAgg+, in a temporary environment that is fetched.",
)
@json_option
def command(
    clients: int, rounds: int, silo_rounds: int, repeats: int, quick: bool, flower: bool, as_json: bool
) -> None:
    """Measure secure sums beside plain ones: sums by themselves, a job, and rounds of real silos.

    All members of a timed sum and its coordinator share this process. Jobs with plain and with secure sums
    must make the same models. Other work on the machine distorts seconds, so compare ratios of one run.
    Flower's SecAgg+ makes the sums of up to 100 members in one process too, with as many bits and neighbours.
    """
    from tasks.bench.overhead.flower import PACKAGE, flower_python
    from tasks.bench.secure.flower import MOST_MEMBERS, secagg_row
    from tasks.bench.secure.jobs import SMALL_WORLD, WORLD, job_row, silos_row
    from tasks.bench.secure.sums import FULL, QUICK, sum_row

    def announce(line: str) -> None:
        click.echo(line, err=True)

    result: dict[str, Any] = {"sums": []} | ({"flower": []} if flower else {})
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedrec-bench-")))
        # First of all, so that a missing connection is no surprise after minutes of measuring.
        python = stack.enter_context(flower_python(folder, PACKAGE, announce)) if flower else None
        for case in QUICK if quick else FULL:
            announce(f"Sums of {case.members} members, {case.values:,} values each.")
            row = sum_row(case, repeats)
            result["sums"].append(row)
            if python and case.members <= MOST_MEMBERS:
                announce("The same by Flower's SecAgg+.")
                result["flower"].append(secagg_row(python, case, row, repeats, 3600.0))
        if rounds:
            world = SMALL_WORLD if quick else WORLD
            result["job"] = job_row(folder / "job", clients, rounds, world, announce)
        if silo_rounds:
            result["silos"] = silos_row(folder / "silos", silo_rounds, announce)
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    for row in result["sums"]:
        _show_sum("sum", row)
    for row in result.get("flower", ()):
        _show_sum(f"sum by {row['name']} ({row['requirement']})", row)
        click.echo(f"  {row['ratio_sum_s']:g} times the seconds, {row['ratio_bytes']:g} times the bytes")
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


def _show_sum(name: str, row: Mapping[str, Any]) -> None:
    parts = ", ".join(f"{part} {seconds:g}" for part, seconds in row["parts_s"].items())
    click.echo(
        f"{name} of {row['members']} members, {row['values']:,} values: {row['sum_s']:g} s ({parts}); "
        f"{row['bytes_of_summand']:,} bytes a member"
    )
