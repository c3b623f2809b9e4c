"""`fedrec bench cold-start`: the cold-start table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from flows.terminal.output import emit, json_option
from flows.terminal.table_options import table_options


@click.command("cold-start")
@table_options
@click.option("--quick", is_flag=True, help="New items and new users, one seed.")
@json_option
def command(
    data_dir: str,
    config_file: Path,
    quick: bool,
    part: Any,
    protocols: Sequence[str],
    families: Sequence[str],
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Measure new items, new users and new silos, each compared with a naive recommender.

    New items are placed by their features. New users are folded in from their first items. New silos are
    served by the model of the other silos. Every number has a 95 % interval.
    """
    from flows.settings.quality_config import cold_start_plan, load_quality_config
    from flows.settings.settings_file import absolute_folder
    from tasks.bench.cold_start.markdown import put_tables, tables
    from tasks.bench.cold_start.protocols import ColdStart
    from tasks.datasets.partition_reader import open_partition

    chosen = cold_start_plan(
        load_quality_config(config_file), quick=quick, protocols=protocols, families=families
    )
    partition = open_partition(absolute_folder(data_dir))
    bench = ColdStart(partition, chosen.families, part, chosen.seeds, lambda line: click.echo(line, err=True))
    rows = list(bench.rows(chosen.protocols))
    if markdown:
        put_tables(markdown, rows)
        click.echo(f"The tables are in {markdown}", err=True)
    result = {"part": part, "quick": quick, "data_digest": partition.digest, "rows": rows}
    emit(result, as_json=as_json, show=lambda: click.echo(tables(rows)))
