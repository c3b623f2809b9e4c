"""`fedrec bench leak`: how much a leak in published code raises the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from flows.terminal.bench_options import data_option
from flows.terminal.output import emit, json_option


@click.command("leak")
@data_option("A partition whose interactions have timestamps.")
@click.option(
    "--epochs", type=click.IntRange(min=1), default=30, show_default=True, help="Epochs of LightFM."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of everything random.")
@json_option
def command(data_dir: str, epochs: int, seed: int, as_json: bool) -> None:
    """Show how much the metrics rise if training never draws held-out items as negatives.

    The code of some published federated recommenders does so. Rows "leaky" show what it then reports, rows
    "honest" what the same training achieves without the leak. The last rows show that the next-item model and
    the blend depend on the order of a user's interactions.
    """
    from flows.settings.settings_file import absolute_folder
    from tasks.bench.quality.leak import leak_rows
    from tasks.datasets.partition_reader import open_partition

    partition = open_partition(absolute_folder(data_dir))
    rows = list(leak_rows(partition, epochs, seed))
    emit({"rows": rows}, as_json=as_json, show=lambda: _show(rows))


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        interval = f"{row['value']:.3f} ({row['low']:.3f}-{row['high']:.3f})"
        click.echo(f"{row['what']:42} {row['variant']:18} {row['metric']:12} {interval}")
