"""Options of the commands that make the tables of docs/quality.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

CONFIG = Path(__file__).parents[2] / "configs" / "quality.yaml"
part_option = click.option(
    "--on",
    "part",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Held-out part. Use validation for choices and test for reports.",
)
_OPTIONS = (
    click.option(
        "--data",
        "data_dir",
        default="$FEDREC_HOME/data/ml-100k",
        show_default=True,
        metavar="DIR",
        help="A partition with one client per silo.",
    ),
    click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        default=CONFIG,
        help="Settings of all families.  [default: configs/quality.yaml]",
    ),
    part_option,
    click.option(
        "--protocol", "protocols", multiple=True, metavar="NAME", help="Only this protocol; repeatable."
    ),
    click.option("--family", "families", multiple=True, metavar="NAME", help="Only this family; repeatable."),
    click.option("--markdown", type=click.Path(path_type=Path), help="Write the tables into this document."),
)


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options data_dir, config_file, part, protocols, families and markdown to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
