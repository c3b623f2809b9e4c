"""`fedrec bench privacy`: quality against the privacy that a model promises."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from flows.terminal.bench_options import data_option, epsilon_option
from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option
from flows.terminal.table_options import part_option


@click.command("privacy")
@data_option()
@epsilon_option("What each model promises to each user; repeatable.")
@number_option(
    "--delta",
    click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    1e-5,
    "Delta of all promises; below one over the number of users.",
)
@number_option("--seeds", click.IntRange(min=1), 3, "Draws of the noise.")
@part_option
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set dp_items.KEY, as `train` has it in a job of this family, or ease.KEY; repeatable.",
)
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table into this document.")
@click.option("--picture", type=click.Path(path_type=Path), help="Write the picture, an SVG, to this file.")
@json_option
def command(
    data_dir: str,
    epsilons: tuple[float, ...],
    delta: float,
    seeds: int,
    part: Literal["test", "validation"],
    overrides: tuple[str, ...],
    markdown: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Measure private recommenders at several epsilons, beside two floors and a model without privacy.

    The floors are the most popular items, and a recommender that knows features and content profiles but no
    pair of items. What a private model is worth is what it has above them. On MovieLens-100K each draw of the
    noise takes about half a minute for each epsilon.
    """
    from flows.settings.private_specs import private_specs
    from flows.settings.settings_file import absolute_folder
    from tasks.bench.privacy.markdown import put_table, table
    from tasks.bench.privacy.picture import picture as drawn
    from tasks.bench.privacy.table_rows import privacy_rows
    from tasks.datasets.partition_reader import open_partition
    from tasks.local.atomic import write_atomically

    def announce(text: str) -> None:
        click.echo(text, err=True)

    partition = open_partition(absolute_folder(data_dir))
    numbers = range(1, seeds + 1)
    rows = list(
        privacy_rows(
            partition,
            specs=private_specs(overrides),
            epsilons=sorted(epsilons),
            delta=delta,
            seeds=numbers,
            part=part,
            announce=announce,
        )
    )
    if markdown:
        put_table(markdown, rows)
        announce(f"The table is in {markdown}")
    if picture:
        write_atomically(picture, drawn(rows).encode())
        announce(f"The picture is in {picture}")
    result = {"part": part, "data_digest": partition.digest, "rows": rows}
    emit(result, as_json=as_json, show=lambda: click.echo(table(rows)))
