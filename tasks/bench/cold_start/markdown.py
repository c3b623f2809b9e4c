"""The cold-start tables as Markdown, between two marks of a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.evaluation.cold_start import COLD_STARTS, NEW_ITEMS, NEW_SILOS, NEW_USERS
from tasks.bench.quality.markdown import head, line, put_between

BEGIN, END = "<!-- table: fedrec bench cold-start -->", "<!-- end of cold-start table -->"
_SHOWN = {
    NEW_ITEMS.name: ("cold_ndcg@10", "cold_recall@20", "ndcg@10"),
    NEW_USERS.name: ("ndcg@10", "recall@20", "map"),
    NEW_SILOS.name: ("loo_hr@10", "loo_ndcg@10", "ndcg@10"),
}
_DIFFERENCES = {"over_popularity": "over popularity", "over_silo_only": "over the silo alone"}

Row = Mapping[str, Any]


def put_tables(document: Path, rows: Sequence[Row]) -> None:
    """Replace the document's tables with the tables of these rows.

    Raises:
        InvalidInput: the document cannot be read or lacks the marks of the tables.
    """
    put_between(document, BEGIN, END, tables(rows))


def tables(rows: Sequence[Row]) -> str:
    """Return one table per protocol, and for new silos the difference that the others' model makes."""
    return "\n".join(_lines(rows))


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        own = [row for row in rows if row["protocol"] == protocol]
        title = COLD_STARTS[protocol].title
        yield f"\n### {own[0]['dataset']}, {own[0]['clients']} clients, {protocol}\n"
        yield f"{title[0].upper()}{title[1:]}.\n"
        yield from _values(protocol, [row for row in own if row["arm"] not in _DIFFERENCES])
        yield ""
        yield from _differences([row for row in own if row["arm"] in _DIFFERENCES])


def _values(protocol: str, rows: Sequence[Row]) -> Iterator[str]:
    metrics = [f"{protocol}:{name}" for name in _SHOWN[protocol]]
    by_history = ["items known"] if protocol == NEW_USERS.name else []
    to = {key: next((row[key] for row in rows if key in row), "-") for key in ("ratio_to", "kept_of")}
    ratios = [f"{metrics[0].partition(':')[2]} / {to['ratio_to']}", f"/ {to['kept_of']}"]
    yield from head("family", "arm", *by_history, *_SHOWN[protocol], *ratios)
    lines: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row["family"], row["arm"], row.get("history", "")), {})[row["metric"]] = row
    for (family, arm, history), found in lines.items():
        cells = [_interval(found[metric]) for metric in metrics]
        given = [str(history)] if by_history else []
        first = found[metrics[0]]
        yield line(family, arm, *given, *cells, _interval(first, "ratio"), _interval(first, "kept"))


def _differences(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    families = list(dict.fromkeys(row["family"] for row in rows))
    yield "What the model of the other silos gives each new silo: NDCG@10 over all items, difference.\n"
    yield from head("silo", *(f"{family} {name}" for family in families for name in _DIFFERENCES.values()))
    by_cell = {(row["client"], row["family"], row["arm"]): row for row in rows}
    for client in dict.fromkeys(row["client"] for row in rows):
        cells = (by_cell.get((client, family, arm)) for family in families for arm in _DIFFERENCES)
        yield line(
            client,
            *(
                f"{cell['value']:+.3f} ({cell['low']:+.3f} to {cell['high']:+.3f})" if cell else ""
                for cell in cells
            ),
        )
    yield ""


def _interval(row: Row, name: str = "") -> str:
    value, digits = row.get(name or "value"), 2 if name else 4
    if value is None:
        return ""
    low, high = (row[f"{name}_{end}".lstrip("_")] for end in ("low", "high"))
    return f"{value:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
