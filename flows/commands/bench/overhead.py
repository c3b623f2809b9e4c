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
@number_option(
    "--timeout",
    click.FloatRange(min=1),
    7200.0,
    "Seconds after which a training is ended.",
    metavar="SECONDS",
)
@json_option
def command(data_dir: str, quick: bool, cases: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Measure what a job costs besides its training: fedrec train beside a bare loop.

    The bare loop trains and merges the same rounds in one process, on data in memory, without Prefect,
    MLflow, contracts and messages. Both must end with the same model, byte for byte. Other work on the
    machine distorts the figures, so compare ratios of one run. After an interruption the same command
    continues.
    """
    from flows.settings.settings_file import absolute_folder
    from tasks.bench.overhead.bench import OverheadRequest, bench_overhead
    from tasks.local.home import current_home

    request = OverheadRequest(Path(absolute_folder(data_dir)), cases, quick, False, None, timeout)
    result = bench_overhead(request, current_home(), lambda line: click.echo(line, err=True))
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    click.echo(
        f"{'clients':>8} {'rounds':>7} {'items':>7} {'bare s':>8} {'job s':>8} {'start-up s':>11} "
        f"{'after s':>8} {'ratio':>6} {'round s':>8} {'overhead s':>11} {'MB':>6}"
    )
    for row in result["rows"]:
        click.echo(
            f"{row['clients']:>8,} {row['rounds']:>7} {row['items']:>7,} {row['bare_s']:>8.2f} "
            f"{row['job_s']:>8.1f} {row['startup_s']:>11.1f} {row['after_startup_s']:>8.1f} "
            f"{row['ratio']:>6.1f} {row['round_s']:>8.3f} {row['round_overhead_s']:>11.3f} "
            f"{row['peak_rss_mb']:>6.0f}"
        )
