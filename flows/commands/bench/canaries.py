"""`fedrec bench canaries`: what an attacker can show of the privacy that a model promises."""

from __future__ import annotations

from pathlib import Path

import click

from flows.terminal.bench_options import epsilon_option
from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option

_QUICK_RUNS, _QUICK_CANARIES = 60, 100


@click.command("canaries")
@epsilon_option("What is claimed; repeatable.")
@number_option(
    "--delta",
    click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    1e-5,
    "Delta of all claims and bounds.",
)
@number_option("--runs", click.IntRange(min=60), 2000, "Trainings with the canary, and as many without.")
@number_option("--canaries", click.IntRange(min=100), 1000, "Canaries of the one training that has many.")
@number_option("--seed", click.IntRange(min=0), 1, "Seed of all noise and coins.")
@click.option("--quick", is_flag=True, help=f"{_QUICK_RUNS} trainings and {_QUICK_CANARIES} canaries.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table into this document.")
@json_option
def command(
    epsilons: tuple[float, ...],
    delta: float,
    runs: int,
    canaries: int,
    seed: int,
    quick: bool,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Audit the noise of the private item model by attacks, with the real code of clients and server.

    A canary is a made-up user who is as visible as a user can be. An attacker that knows all other users
    tells trainings with it from those without, by the noisy sums and by the final model alone. Another one
    tells which of many canaries are in one training. How often they are right gives lower bounds on epsilon.
    Each must be below the claim. If a tenth of the noise is added, those that take it to be Gaussian must be
    above it. Takes half an hour, or a minute with --quick.
    """
    from tasks.bench.privacy.canaries import Effort, canary_rows
    from tasks.bench.privacy.canary_markdown import put_table, table

    def announce(text: str) -> None:
        click.echo(text, err=True)

    effort = Effort(_QUICK_RUNS, _QUICK_CANARIES, seed) if quick else Effort(runs, canaries, seed)
    rows = list(canary_rows(sorted(epsilons), delta, effort, announce))
    if markdown:
        put_table(markdown, rows)
        announce(f"The table is in {markdown}")
    emit({"quick": quick, "rows": rows}, as_json=as_json, show=lambda: click.echo(table(rows)))
