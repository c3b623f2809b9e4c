"""Options of the commands whose tables stand in docs/quality.md."""

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
    help="Held-out part. Choices are made on validation, never on test.",
)
_OPTIONS = (
    click.option(
        "--data",
        "data_dir",
        default="$FEDREC_HOME/data/ml-100k",
        show_default=True,
        metavar="DIR",
        help="A partition, one client a silo.",
    ),
    click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        default=CONFIG,
        help="Settings of all families.  [default: configs/quality.yaml]",
    ),
    part_option,
    click.option("--protocol", "protocols", multiple=True, metavar="NAME", help="Only this one; repeatable."),
    click.option("--family", "families", multiple=True, metavar="NAME", help="Only this one; repeatable."),
    click.option("--markdown", type=click.Path(path_type=Path), help="Put the tables into this document."),
)


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command takes data_dir, config_file, part, protocols, families and markdown."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
