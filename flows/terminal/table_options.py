"""The commands that make the tables of docs/quality.md: their options, as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from flows.terminal.bench_options import Decorator, data_option
from flows.terminal.output import json_option

CONFIG = Path(__file__).parents[2] / "configs" / "quality.yaml"
part_option = click.option(
    "--on",
    "part",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Held-out part. Use validation for choices and test for reports.",
)
_OPTIONS: tuple[Decorator, ...] = (
    data_option(),
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


@dataclass(frozen=True)
class TableRequest:
    """What a table is to measure, and where it is written.

    Attributes:
        data_dir: a partition with one client per silo.
        config_file: settings of all families.
        part: the held-out part.
        protocols, families: names of those to measure; empty for all.
        markdown: the document to write the tables into.
        quick: whether to measure the command's short selection only.
        as_json: whether to print JSON.
    """

    data_dir: str
    config_file: Path
    part: Literal["test", "validation"]
    protocols: Sequence[str]
    families: Sequence[str]
    markdown: Path | None
    quick: bool
    as_json: bool

    def announce(self, line: str) -> None:
        """Print a line for people on stderr."""
        click.echo(line, err=True)


def table_command(name: str, *, quick: str) -> Callable[[Callable[[TableRequest], None]], click.Command]:
    """Return the decorator that makes a command of a function that measures what a `TableRequest` says.

    Args:
        name: of the command.
        quick: help of its option `--quick`.
    """

    def decorated(measure: Callable[[TableRequest], None]) -> click.Command:
        def run(**values: Any) -> None:
            measure(TableRequest(**values))

        quick_option: Decorator = click.option("--quick", is_flag=True, help=quick)
        options: tuple[Decorator, ...] = (json_option, quick_option, *reversed(_OPTIONS))
        command: Callable[..., Any] = run
        for option in options:
            command = option(command)
        return click.command(name, help=measure.__doc__)(command)

    return decorated
