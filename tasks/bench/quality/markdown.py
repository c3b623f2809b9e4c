"""The quality table as Markdown, between two marks of a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.errors import InvalidInput
from models.evaluation.protocols import LEAVE_ONE_OUT, PROTOCOLS
from tasks.local.atomic import write_atomically

BEGIN, END = "<!-- table: fedrec bench quality -->", "<!-- end of table -->"
_ARMS = ("federated", "centralised", "silo_only")
_SHOWN = {
    True: ("loo_hr@10", "loo_ndcg@10", "hr@10", "ndcg@10"),
    False: ("ndcg@10", "recall@20", "map"),
}
_LISTS = ("coverage@10", "popularity@10", "gini@10")

Row = Mapping[str, Any]


def put_table(document: Path, rows: Sequence[Row]) -> None:
    """Replace the document's table with the table of these rows.

    Raises:
        InvalidInput: the document cannot be read or lacks the marks of a table.
    """
    put_between(document, BEGIN, END, table(rows))


def put_between(document: Path, begin_mark: str, end_mark: str, new: str) -> None:
    """Replace the document's text between two marks.

    Raises:
        InvalidInput: the document cannot be read or lacks the marks.
    """
    before, after = around(document, begin_mark, end_mark)
    write_atomically(document, f"{before}{begin_mark}\n{new}\n{end_mark}{after}".encode())


def around(document: Path, begin_mark: str, end_mark: str) -> tuple[str, str]:
    """Return the document's text before and after two marks.

    Raises:
        InvalidInput: the document cannot be read or lacks the marks.
    """
    try:
        text = document.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{document} cannot be read: {error.strerror}.") from error
    before, begin, rest = text.partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end:
        raise InvalidInput(
            f"{document} lacks the marks of the table.",
            next_step=f"Put these two lines where the table belongs:\n{begin_mark}\n{end_mark}",
        )
    return before, after


def table(rows: Sequence[Row]) -> str:
    """Return one table for each protocol and number of clients, then costs and each silo's benefit."""
    return "\n".join(_lines(rows))


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    groups = dict.fromkeys((row["protocol"], row["clients"], row["dataset"]) for row in rows)
    for protocol, clients, dataset in groups:
        own = [row for row in rows if (row["protocol"], row["clients"]) == (protocol, clients)]
        named = "" if protocol == LEAVE_ONE_OUT.name else f"{protocol}:"
        yield f"\n### {dataset}, {clients} clients, {protocol}\n"
        yield f"{PROTOCOLS[protocol].title[0].upper()}{PROTOCOLS[protocol].title[1:]}.\n"
        yield from _values(own, [f"{named}{metric}" for metric in _SHOWN[not named]])
        yield ""
        yield from _values(own, [f"{named}{metric}" for metric in _LISTS])
        yield ""
        yield from _ratios(own, [f"{named}{metric}" for metric in _SHOWN[not named]])
        yield from _benefits(own)


def _values(rows: Sequence[Row], metrics: Sequence[str]) -> Iterator[str]:
    yield from head("family", "arm", "seeds", *metrics)
    for family in dict.fromkeys(row["family"] for row in rows):
        for arm in _ARMS:
            found = {row["metric"]: row for row in rows if (row["family"], row["arm"]) == (family, arm)}
            if found:
                cells = (
                    f"{found[each]['value']:.4f} ({found[each]['low']:.4f}-{found[each]['high']:.4f})"
                    for each in metrics
                )
                yield line(family, arm, str(found[metrics[0]]["seeds"]), *cells)


def _ratios(rows: Sequence[Row], metrics: Sequence[str]) -> Iterator[str]:
    federated = [row for row in rows if row["arm"] == "federated"]
    if not federated:
        return
    yield from head("federated / centralised", *metrics, "rounds", "MB up", "MB down")
    for family in dict.fromkeys(row["family"] for row in federated):
        found = {row["metric"]: row for row in federated if row["family"] == family}
        cost = found[metrics[0]]
        yield line(
            family,
            *(_ratio(found[each]) for each in metrics),
            str(cost["rounds"]),
            f"{cost['bytes_up'] / 1e6:.1f}",
            f"{cost['bytes_down'] / 1e6:.1f}",
        )
    yield ""


def _ratio(row: Row) -> str:
    return f"{row['ratio']:.4f} ({row['ratio_low']:.4f}-{row['ratio_high']:.4f})" if "ratio" in row else ""


def _benefits(rows: Sequence[Row]) -> Iterator[str]:
    gained = [row for row in rows if row["arm"] == "benefit"]
    if not gained:
        return
    families = list(dict.fromkeys(row["family"] for row in gained))
    yield "What joining gives each silo's users: NDCG@10 over all items, federated minus alone.\n"
    yield from head("silo", *families)
    by_cell = {(row["client"], row["family"]): row for row in gained}
    for client in dict.fromkeys(row["client"] for row in gained):
        cells = (by_cell.get((client, family)) for family in families)
        yield line(
            client,
            *(
                f"{cell['value']:+.4f} ({cell['low']:+.4f} to {cell['high']:+.4f})" if cell else ""
                for cell in cells
            ),
        )
    yield ""


def head(*names: str) -> Iterator[str]:
    """Yield the first two lines of a table."""
    yield line(*names)
    yield line(*("---" for _ in names))


def line(*cells: str) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"
