"""`fedrec bench quality`: the quality table."""

from __future__ import annotations

import click

from flows.terminal.output import emit
from flows.terminal.table_options import TableRequest, table_command


@table_command("quality", quick="Only leave-one-out over silos, with one seed and no silo alone.")
def command(request: TableRequest) -> None:
    """Compare every family, federated, on pooled data and in each silo alone, with baselines.

    Every number has a 95 % interval. The families train in one process with the real code of clients and
    server, over the partition's silos and again over one client per user.
    """
    from flows.settings.quality_config import load_quality_config, plans
    from flows.settings.settings_file import absolute_folder
    from tasks.bench.quality.markdown import put_table, table
    from tasks.bench.quality.table_rows import quality_rows
    from tasks.datasets.partition_reader import open_partition

    config = load_quality_config(request.config_file)
    partition = open_partition(absolute_folder(request.data_dir))
    chosen = plans(config, quick=request.quick, protocols=request.protocols, families=request.families)
    rows = list(quality_rows(partition, chosen, request.part, request.announce))
    if request.markdown:
        put_table(request.markdown, rows)
        request.announce(f"The table is in {request.markdown}")
    result = {"part": request.part, "quick": request.quick, "data_digest": partition.digest, "rows": rows}
    emit(result, as_json=request.as_json, show=lambda: click.echo(table(rows)))
