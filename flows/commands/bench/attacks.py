"""`fedrec bench attacks`: what a coordinator reads off updates, and what liars among the clients achieve."""

from __future__ import annotations

from pathlib import Path

import click

from flows.terminal.bench_options import data_option
from flows.terminal.output import emit, json_option


@click.command("attacks")
@data_option()
@click.option(
    "--liars",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 5, 25),
    show_default=True,
    help="Number of liars that join 100 honest clients; repeatable.",
)
@click.option("--quick", is_flag=True, help="LightFM only, with one seed, few defences and no small clients.")
@click.option(
    "--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Trainings at the same time."
)
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the tables into this document.")
@json_option
def command(
    data_dir: str, liars: tuple[int, ...], quick: bool, threads: int, markdown: Path | None, as_json: bool
) -> None:
    """Attack a federation in one process, with the real code of clients and server.

    Reading: how well a coordinator tells a client's items from an update, a sum of updates or a difference of
    sums, beside their popularity. Poisoning: how far false updates lift an item into users' lists under each
    defence, what the defence costs in quality, and whether the exposure alarm notices.
    """
    from flows.settings.settings_file import absolute_folder
    from tasks.bench.attacks.markdown import put_tables, tables
    from tasks.bench.attacks.table_rows import attack_rows
    from tasks.datasets.partition_reader import open_partition

    def announce(text: str) -> None:
        click.echo(text, err=True)

    partition = open_partition(absolute_folder(data_dir))
    rows = list(attack_rows(partition, liars=liars, quick=quick, announce=announce, threads=threads))
    if markdown:
        put_tables(markdown, rows)
        announce(f"The tables are in {markdown}")
    result = {"quick": quick, "data_digest": partition.digest, "rows": rows}
    emit(result, as_json=as_json, show=lambda: click.echo(tables(rows)))
