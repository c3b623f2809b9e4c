"""The canary table as Markdown, between two marks of a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.bench.privacy.bounds import CONFIDENCE, largest_from_runs, one_run_epsilon
from tasks.bench.privacy.canaries import HONEST
from tasks.bench.quality.markdown import head, line, put_between

BEGIN, END = "<!-- table: fedrec bench canaries -->", "<!-- end of canary table -->"

Row = Mapping[str, Any]

_BOUNDS = {
    "sums": "from sums",
    "sums_gaussian": "from sums, if Gaussian",
    "model": "from the model",
    "model_gaussian": "from the model, if Gaussian",
    "one_run": "from one training",
}


def put_table(document: Path, rows: Sequence[Row]) -> None:
    """Replace the document's table with the table of these rows.

    Raises:
        InvalidInput: the document cannot be read or lacks the marks of the table.
    """
    put_between(document, BEGIN, END, table(rows))


def table(rows: Sequence[Row]) -> str:
    """Return the table: a line for each claim with its noise, then with too little of it."""
    return "\n".join(_lines(rows))


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    delta = rows[0]["delta"]
    yield f"\nLower bounds on epsilon with {CONFIDENCE:.0%} confidence each, for delta {delta:g}:\n"
    yield from head("claimed epsilon", "noise added", *_BOUNDS.values())
    for row in rows:
        noise = "as claimed" if row["noise"] == HONEST else f"{row['noise']:g} of it"
        yield line(f"{row['epsilon']:g}", noise, *(f"{row[name]:.2f}" for name in _BOUNDS))
    yield ""
    yield from (_limits(rows, noise) for noise in dict.fromkeys(row["noise"] for row in rows))
    yield ""


def _limits(rows: Sequence[Row], noise: float) -> str:
    row = next(row for row in rows if row["noise"] == noise)
    runs, canaries, delta = row["runs"], row["canaries"], row["delta"]
    most = largest_from_runs(runs, delta)
    one = one_run_epsilon(canaries, canaries, canaries, delta)
    what = "As claimed" if noise == HONEST else f"With {noise:g} of it"
    return (
        f"{what}: {runs:,} trainings with the canary and as many without, which can show at most "
        f"{most.plain:.1f} ({most.gaussian:.0f} if Gaussian); one training with {canaries:,} canaries, "
        f"at most {one:.1f}."
    )
