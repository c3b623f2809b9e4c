"""`fedrec bench cold-start`: the cold-start table."""

from __future__ import annotations

import click

from flows.terminal.output import emit
from flows.terminal.table_options import TableRequest, table_command


@table_command("cold-start", quick="New items and new users, one seed.")
def command(request: TableRequest) -> None:
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
        load_quality_config(request.config_file),
        quick=request.quick,
        protocols=request.protocols,
        families=request.families,
    )
    partition = open_partition(absolute_folder(request.data_dir))
    bench = ColdStart(partition, chosen.families, request.part, chosen.seeds, request.announce)
    rows = list(bench.rows(chosen.protocols))
    if request.markdown:
        put_tables(request.markdown, rows)
        request.announce(f"The tables are in {request.markdown}")
    result = {"part": request.part, "quick": request.quick, "data_digest": partition.digest, "rows": rows}
    emit(result, as_json=request.as_json, show=lambda: click.echo(tables(rows)))
