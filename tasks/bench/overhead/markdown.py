"""The overhead tables as Markdown, between two marks of a document, and the picture beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.bench.overhead.picture import picture
from tasks.bench.quality.markdown import around, head, line, put_between
from tasks.local.atomic import write_atomically

BEGIN, END = "<!-- table: fedrec bench overhead -->", "<!-- end of overhead table -->"
PICTURE = Path("images") / "overhead.svg"
# Column -> the figure in it and its format.
_FIGURES = {
    "bare loop s": ("bare_s", ",.2f"),
    "command s": ("job_s", ",.1f"),
    "start-up s": ("startup_s", ",.1f"),
    "after it s": ("after_startup_s", ",.1f"),
    "after it / bare loop": ("ratio", ",.1f"),
    "round s": ("round_s", ",.3f"),
    "bare round s": ("bare_round_s", ",.3f"),
    "overhead of a round s": ("round_overhead_s", ",.3f"),
    "bare loop CPU s": ("bare_cpu_s", ",.1f"),
    "command CPU s": ("job_cpu_s", ",.1f"),
    "peak MB": ("peak_rss_mb", ",.0f"),
}
_FACTS = ("clients", "rounds", "items")

Result = Mapping[str, Any]


def require_place(document: Path) -> None:
    """Raise `InvalidInput` unless the document has a place for the tables."""
    around(document, BEGIN, END)


def put_overhead(document: Path, result: Result) -> None:
    """Replace the document's tables with those of this result, and write the picture that they refer to.

    Raises:
        InvalidInput: the document cannot be read or lacks the marks of the tables.
    """
    put_between(document, BEGIN, END, overhead_tables(result))
    write_atomically(document.parent / PICTURE, picture(result).encode())


def overhead_tables(result: Result) -> str:
    """Return the picture's link, and tables of this revision, of the previous one and of Flower."""
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
    rows = result["rows"]
    yield f"\n![Seconds of each command by activity, beside the bare loop]({PICTURE.as_posix()})\n"
    yield f"{result['cpus']} processors; the load is that of the minute before a row.\n"
    yield from head(*_FACTS, *_FIGURES, "load")
    for row in rows:
        yield line(*_facts(row), *_figures(row), f"{row['load']:.1f}")
    yield ""
    if "previous" in result:
        yield f"The same with revision {result['against']['commit'][:8]}, in turn:\n"
        yield from head(*_FACTS, *_FIGURES, "command, now / then")
        for row, now in zip(result["previous"], rows, strict=True):
            yield line(*_facts(row), *_figures(row), _ratio(now, row, "job_s"))
        yield ""
    if "flower" in result:
        yield f"Rounds of {result['flower'][0]['requirement']}, whose clients return what they get:\n"
        yield from head(
            "clients", "first round s", "round s", "fedrec's overhead of a round s", "Flower / fedrec"
        )
        by_clients = {row["clients"]: row for row in rows if "failed" not in row}
        for row in result["flower"]:
            own = by_clients.get(row["clients"], {}).get("round_overhead_s")
            ratio = f"{row['round_s'] / own:,.1f}" if own and own > 0 else ""
            shown = "" if own is None else f"{own:,.3f}"
            yield line(
                f"{row['clients']:,}", f"{row['first_round_s']:,.2f}", f"{row['round_s']:,.2f}", shown, ratio
            )
        yield ""


def _facts(row: Result) -> list[str]:
    return [f"{row[name]:,}" for name in _FACTS]


def _figures(row: Result) -> list[str]:
    if "failed" in row:
        return ["failed", *("" for _ in list(_FIGURES)[1:])]
    return [format(row[name], form) for name, form in _FIGURES.values()]


def _ratio(now: Result, then: Result, name: str) -> str:
    return "" if "failed" in now or "failed" in then else f"{now[name] / then[name]:.2f}"
