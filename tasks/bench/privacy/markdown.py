"""The privacy table as Markdown, between two marks of a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.bench.privacy.table_rows import EXACT, FLOOR, SHOWN
from tasks.bench.quality.markdown import head, line, put_between

BEGIN, END = "<!-- table: fedrec bench privacy -->", "<!-- end of privacy table -->"

Row = Mapping[str, Any]


def put_table(document: Path, rows: Sequence[Row]) -> None:
    """Replace the document's table with the table of these rows.

    Raises:
        InvalidInput: the document cannot be read or lacks the marks of the table.
    """
    put_between(document, BEGIN, END, table(rows))


def table(rows: Sequence[Row]) -> str:
    """Return the table: a line for each epsilon and recommender."""
    return "\n".join(_lines(rows))


def _draws(seeds: int) -> str:
    if seeds == 1:
        return "one draw of the noise with its 95 % interval over users"
    return f"mean of {seeds} draws of the noise with its 95 % interval over users and draws"


def _above(row: Row) -> str:
    return f"{row['above']:+.3f} ({row['above_low']:+.3f} to {row['above_high']:+.3f})"


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    first = rows[0]
    yield (
        f"\n{first['dataset']}: {first['users']:,} users in {first['clients']} silos, delta "
        f"{first['delta']:g}, {_draws(first['seeds'])}.\n"
    )
    shown = SHOWN[1]
    yield from head("epsilon", "noise multiplier", "recommender", *SHOWN, f"{shown} above {FLOOR}")
    for epsilon, arm in dict.fromkeys((row["epsilon"], row["arm"]) for row in rows):
        own = {row["metric"]: row for row in rows if (row["epsilon"], row["arm"]) == (epsilon, arm)}
        multiplier = own[SHOWN[0]].get("multiplier")
        yield line(
            "-" if epsilon is None else f"{epsilon:g}",
            "-" if multiplier is None else f"{multiplier:.2f}",
            arm,
            *(f"{own[name]['value']:.3f} ({own[name]['low']:.3f}-{own[name]['high']:.3f})" for name in SHOWN),
            _above(own[shown]) if arm not in (EXACT, FLOOR) else "",
        )
    yield ""
