"""Tables in which no number, id or word is cut, however narrow the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_WIDEST = 100_000  # columns; wider than any table


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: its heading.
        is_number: whether its cells are aligned on the right.
        wraps: whether a cell may be broken between words.
    """

    heading: str
    is_number: bool = False
    wraps: bool = False


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a table on stdout.

    A pipe or file gets one line for each row, without blanks after it. A terminal that is too narrow for the
    table gets one line for each cell.

    Args:
        columns: the columns.
        rows: cells in the order of the columns.
    """
    console = Console()
    if not console.is_terminal:
        _print_lines(columns, rows)
        return
    table = _table(columns, rows)
    size = Measurement.get(console, console.options.update(width=_WIDEST), table)
    if size.minimum <= console.width:
        console.print(table)
    else:
        _print_cells(columns, rows)


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE)
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.is_number else "left",
            no_wrap=not column.wraps,
        )
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    return table


def _print_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print one line for each row, of which one long last cell makes no other line long."""
    heading = [column.heading for column in columns]
    lines = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, cells)) for cells in zip(heading, *lines, strict=True)]
    rule = ["─" * width for width in (*widths[:-1], cell_len(heading[-1]))]
    click.echo()
    for line in (heading, rule, *lines):
        cells = []
        for column, width, cell in zip(columns, widths, line, strict=True):
            blanks = " " * (width - cell_len(cell))
            cells.append(blanks + cell if column.is_number else cell + blanks)
        click.echo(f"  {'   '.join(cells)}".rstrip())
    click.echo()


def _print_cells(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    width = max(len(column.heading) for column in columns)
    for row in rows:
        click.echo()
        for column, cell in zip(columns, row, strict=True):
            if cell:
                click.echo(f"{column.heading:<{width}}  {_printable(cell)}")
    click.echo()


def _printable(text: str) -> str:
    """Return the text with its control characters as escapes, because others write ids and reasons."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
