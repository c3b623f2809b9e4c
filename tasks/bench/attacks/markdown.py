"""The tables of attacks as Markdown, between two marks of a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.bench.attacks.poisoning import ALARM, EXPOSURE, QUALITY
from tasks.bench.attacks.reading import FITTED, FLOOR
from tasks.bench.quality.markdown import head, line, put_between

BEGIN, END = "<!-- table: fedrec bench attacks -->", "<!-- end of table -->"

Row = Mapping[str, Any]


def put_tables(document: Path, rows: Sequence[Row]) -> None:
    """Replace the document's tables with those of these rows.

    Raises:
        InvalidInput: the document cannot be read or lacks the marks of the tables.
    """
    put_between(document, BEGIN, END, tables(rows))


def tables(rows: Sequence[Row]) -> str:
    """Return the tables of reading and of poisoning, family by family."""
    return "\n".join(_lines(rows))


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    for part, section in (("reading", _reading), ("poisoning", _poisoning)):
        for family in dict.fromkeys(row["family"] for row in rows if row["part"] == part):
            yield from section(
                family, [row for row in rows if (row["part"], row["family"]) == (part, family)]
            )


def _reading(family: str, rows: Sequence[Row]) -> Iterator[str]:
    yield f"\n### Reading {family}'s updates\n"
    targets = max(row["targets"] for row in rows)
    yield (
        f"AUC of a client's items, mean over up to {targets} clients with its 95 % interval, and the mean of "
        "the best F1.\n"
    )
    yield from head(
        "clients", "round", "seen", "popularity", "best score", "fitted", "F1: popularity, fitted"
    )
    for deal, round_, view in dict.fromkeys((row["deal"], row["round"], row["view"]) for row in rows):
        own = {
            (row["score"], row["metric"]): row
            for row in rows
            if (row["deal"], row["round"], row["view"]) == (deal, round_, view)
        }
        single = {score for score, _ in own} - {FLOOR, FITTED}
        best = max(sorted(single), key=lambda score: float(own[score, "auc"]["value"]))
        yield line(
            f"{own[FLOOR, 'auc']['clients']} ({deal})",
            str(round_),
            view,
            _interval(own[FLOOR, "auc"]),
            f"{_interval(own[best, 'auc'])} {best}",
            _interval(own[FITTED, "auc"]),
            f"{own[FLOOR, 'f1']['value']:.2f}, {own[FITTED, 'f1']['value']:.2f}",
        )
    yield ""


def _poisoning(family: str, rows: Sequence[Row]) -> Iterator[str]:
    clients, seeds = rows[0]["clients"], rows[0]["seeds"]
    liars = sorted({row["liars"] for row in rows} - {0})
    found = {(row["defence"], row["attack"], row["liars"], row["metric"]): row for row in rows}
    defences, attacks = (list(dict.fromkeys(row[name] for row in rows)) for name in ("defence", "attack"))
    attacks.remove("")
    yield f"\n### Poisoning {family}\n"
    yield (
        f"{clients} honest clients, {' or '.join(map(str, liars))} liars. Quality is relative to no defence "
        f"and no liars, mean of {seeds} seeds with its 95 % interval. The largest ER@10 is over all lies and "
        "seeds.\n"
    )
    worst = [f"largest ER@10, {count} liars" for count in liars]
    yield from head("defence", *(f"{metric} without liars" for metric in QUALITY[:2]), *worst)
    for defence in defences:
        ratios = (_ratio(found[defence, "", 0, metric]) for metric in QUALITY[:2])
        highs = (
            max(float(found[defence, attack, count, EXPOSURE]["high"]) for attack in attacks)
            for count in liars
        )
        yield line(defence, *ratios, *(f"{high:.3f}" for high in highs))
    yield (
        "\nER@10 of each lie, median (least-largest) over the seeds' targets; then NDCG@10 relative to no "
        f"defence and no liars with {liars[-1]} liars; then the targets that the exposure alarm names.\n"
    )
    each = [f"{count} liars" for count in liars]
    yield from head(
        "defence", "lie", *each, f"NDCG@10, {liars[-1]} liars", *(f"alarm, {one}" for one in each)
    )
    for defence in defences:
        for attack in attacks:
            own = {count: found[defence, attack, count, EXPOSURE] for count in liars}
            yield line(
                defence,
                attack,
                *(_interval(row) for row in own.values()),
                _ratio(found[defence, attack, liars[-1], QUALITY[0]]),
                *(_alarm(found.get((defence, attack, count, ALARM))) for count in liars),
            )
    calm = [found[defence, "", 0, ALARM] for defence in defences if (defence, "", 0, ALARM) in found]
    if calm:
        yield (
            f"\nWithout liars, the alarm named {sum(row['others'] for row in calm)} items in "
            f"{len(calm) * seeds} trainings.\n"
        )


def _interval(row: Row) -> str:
    return f"{row['value']:.3f} ({row['low']:.3f}-{row['high']:.3f})"


def _ratio(row: Row) -> str:
    return f"{row['ratio']:.3f} ({row['ratio_low']:.3f}-{row['ratio_high']:.3f})"


def _alarm(row: Row | None) -> str:
    return f"{row['value'] * row['seeds']:.0f} of {row['seeds']}" if row else ""
