"""`fedrec bench overhead`: what a job costs besides its training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option


@click.command("overhead")
@click.option(
    "--data",
    "data_dir",
    default="$FEDREC_HOME/data/ml-100k-raw",
    show_default=True,
    metavar="DIR",
    help="The folder of fedrec data fetch ml-100k.",
)
@click.option("--quick", is_flag=True, help="Two small federations of random users, about a minute.")
@click.option("--case", "cases", multiple=True, metavar="NAME", help="Only this case; repeatable.")
@click.option(
    "--flower", is_flag=True, help="Also measure Flower, in a temporary environment that is fetched."
)
@click.option("--against", metavar="REV", help="Also measure this git revision of fedrec, in turn.")
@number_option(
    "--timeout",
    click.FloatRange(min=1),
    7200.0,
    "Seconds after which a training is ended.",
    metavar="SECONDS",
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path),
    help="Write the tables into this document, and the picture beside it into images/overhead.svg.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    data_dir: str,
    quick: bool,
    cases: tuple[str, ...],
    flower: bool,
    against: str | None,
    timeout: float,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Measure what a job costs besides its training: fedrec train beside a bare loop.

    The bare loop trains and merges the same rounds in one process, on data in memory, without Prefect,
    MLflow, contracts and messages. Both must end with the same model, byte for byte. Other work on the
    machine distorts the figures, so compare ratios of one run. After an interruption the same command
    continues. Exit code 1 means that a job failed; its row says why.
    """
    from flows.settings.settings_file import absolute_folder
    from tasks.bench.overhead.bench import OverheadRequest, bench_overhead
    from tasks.bench.overhead.markdown import put_overhead, require_place
    from tasks.local.home import current_home

    request = OverheadRequest(Path(absolute_folder(data_dir)), cases, quick, flower, against, timeout)
    if markdown:
        require_place(markdown)  # before hours of measuring
    result = bench_overhead(request, current_home(), lambda line: click.echo(line, err=True))
    if markdown:
        put_overhead(markdown, result)
        click.echo(f"The tables are in {markdown}", err=True)
    emit(result, as_json=as_json, show=lambda: _show(result))
    ctx.exit(1 if any("failed" in row for row in result["rows"]) else 0)


def _show(result: Mapping[str, Any]) -> None:
    click.echo(
        f"{'':12} {'clients':>8} {'rounds':>7} {'items':>7} {'bare s':>8} {'job s':>8} {'start-up s':>11} "
        f"{'after s':>8} {'ratio':>6} {'round s':>8} {'overhead s':>11} {'MB':>6}"
    )
    for row in (*result["rows"], *result.get("previous", ())):
        name = row.get("revision", "")
        if "failed" in row:
            click.echo(
                f"{name:12} {row['clients']:>8,} {row['rounds']:>7} {row['items']:>7,} {row['failed']}"
            )
            continue
        click.echo(
            f"{name:12} "
            f"{row['clients']:>8,} {row['rounds']:>7} {row['items']:>7,} {row['bare_s']:>8.2f} "
            f"{row['job_s']:>8.1f} {row['startup_s']:>11.1f} {row['after_startup_s']:>8.1f} "
            f"{row['ratio']:>6.1f} {row['round_s']:>8.3f} {row['round_overhead_s']:>11.3f} "
            f"{row['peak_rss_mb']:>6.0f}"
        )
    for row in result.get("flower", ()):
        facts = f"{row['clients']:>8,} {row['rounds']:>7} {row['items']:>7,}"
        click.echo(f"{'Flower':12} {facts} round {row['round_s']:.3f} s")
