"""`fedrec bench quality`: the quality table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from flows.output import emit, json_option

CONFIG = Path(__file__).parents[2] / "configs" / "quality.yaml"


@click.command("quality")
@click.option(
    "--data",
    "data_dir",
    default="$FEDREC_HOME/data/ml-100k",
    show_default=True,
    metavar="DIR",
    help="A partition, one client a silo.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=CONFIG,
    help="Settings of all families.  [default: configs/quality.yaml]",
)
@click.option("--quick", is_flag=True, help="Leave-one-out over silos, one seed, no silo alone.")
@click.option(
    "--on",
    "part",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Held-out part. Choices are made on validation, never on test.",
)
@click.option("--protocol", "protocols", multiple=True, metavar="NAME", help="Only this one; repeatable.")
@click.option("--family", "families", multiple=True, metavar="NAME", help="Only this one; repeatable.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Put the table into this document.")
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
    """Measure every family federated, on pooled data and in each silo alone, beside baselines.

    Every number comes with its 95 % interval. The families train by the clients' and the server's real halves
    in one process, over the partition's silos and again over one client a user.
    """
    from flows.quality_config import load_quality_config, plans
    from flows.settings_file import absolute_folder
    from tasks.dataset import open_partition
    from tasks.quality import quality_rows
    from tasks.quality_markdown import put_table, table

    config = load_quality_config(config_file)
    partition = open_partition(absolute_folder(data_dir))
    chosen = plans(config, quick=quick, protocols=protocols, families=families)
    rows = list(quality_rows(partition, chosen, part, lambda line: click.echo(line, err=True)))
    if markdown:
        put_table(markdown, rows)
        click.echo(f"The table is in {markdown}", err=True)
    result = {"part": part, "quick": quick, "data_digest": partition.digest, "rows": rows}
    emit(result, as_json=as_json, show=lambda: click.echo(table(rows)))
