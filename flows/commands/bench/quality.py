"""`fedrec bench quality`: the quality table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from flows.terminal.output import emit, json_option
from flows.terminal.table_options import table_options


@click.command("quality")
@table_options
@click.option("--quick", is_flag=True, help="Only leave-one-out over silos, with one seed and no silo alone.")
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
    """Compare every family, federated, on pooled data and in each silo alone, with baselines.

    Every number has a 95 % interval. The families train in one process with the real code of clients and
    server, over the partition's silos and again over one client per user.
    """
    from flows.settings.quality_config import load_quality_config, plans
    from flows.settings.settings_file import absolute_folder
    from tasks.bench.quality.markdown import put_table, table
    from tasks.bench.quality.table_rows import quality_rows
    from tasks.datasets.partition_reader import open_partition

    config = load_quality_config(config_file)
    partition = open_partition(absolute_folder(data_dir))
    chosen = plans(config, quick=quick, protocols=protocols, families=families)
    rows = list(quality_rows(partition, chosen, part, lambda line: click.echo(line, err=True)))
    if markdown:
        put_table(markdown, rows)
        click.echo(f"The table is in {markdown}", err=True)
    result = {"part": part, "quick": quick, "data_digest": partition.digest, "rows": rows}
    emit(result, as_json=as_json, show=lambda: click.echo(table(rows)))
