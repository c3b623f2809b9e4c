"""The report's tables whose columns depend on what a job measured. A column without a value is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.messages.job_result import ClientResult, JobResult, RoundResult
from tasks.reports.result_rows import (
    ClientBenefit,
    benefits,
    comparisons,
    in_bytes,
    judgement,
    overall_benefit,
)

MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """A cell's text and its CSS class; an empty class is none."""

    text: str
    css: str = ""


@dataclass(frozen=True)
class ReportRow:
    """A row of a table.

    Attributes:
        name: the text of its header.
        cells: the other cells.
        css: the CSS class of the row; empty for none.
    """

    name: str
    cells: tuple[Cell, ...]
    css: str = ""


@dataclass(frozen=True)
class ReportTable:
    """A table: the titles of all columns, the first one that of the rows' headers, and the rows."""

    titles: tuple[str, ...]
    rows: tuple[ReportRow, ...]


@dataclass(frozen=True)
class _Column:
    """A column: its title, and its cells, None for a missing value."""

    title: str
    cells: list[Cell | None]


def metric(value: float | None) -> str:
    """Return a metric with four digits."""
    return _text(value, "{:.4f}".format)


def signed(value: float | None) -> str:
    """Return a difference with its sign and four digits."""
    return _text(value, lambda given: f"{given:+.4f}".replace("-", "−"))


def ratio(value: float | None) -> str:
    """Return a ratio."""
    return _text(value, "{:.3f}×".format)


def decimals(value: float | None) -> str:
    """Return a number with two digits."""
    return _text(value, lambda given: f"{given:.2f}".replace("-", "−"))


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return _text(value, "{:.1%}".format)


def seconds(value: float | None) -> str:
    """Return a time in seconds."""
    return _text(value, lambda given: f"{given:.1f} s" if given >= 1 else f"{given:.3f} s")


def count(value: float | None) -> str:
    """Return a whole number in groups of three digits."""
    return _text(value, lambda given: f"{given:,}".replace(",", "\u202f"))


def comparison_table(result: JobResult) -> ReportTable:
    """Return the metrics on the test cases, for each kind of training and as ratios.

    Only the deciding metric has an interval, so only its ratio is marked if joining clearly harms.
    """
    rows, by = comparisons(result), judgement(result)
    overall = overall_benefit(result)
    harms = overall is not None and overall.clearly_loses
    columns = [
        _column("Federated", [row.federated for row in rows], metric, "main"),
        _column("± noise", [row.noise for row in rows], metric),
        _column("Silo-only", [row.silo_only for row in rows], metric),
        _column("Centralised", [row.centralised for row in rows], metric),
        _Column(
            "÷ silo-only",
            [
                _cell(row.to_silo_only, ratio, "bad-text" if harms and row.metric == by.quality else "")
                for row in rows
            ],
        ),
        _column("÷ centralised", [row.to_centralised for row in rows], ratio),
    ]
    strong = ["strong" if row.metric == by.quality else "" for row in rows]
    return _table("Metric", [row.metric for row in rows], columns, strong)


def clients_table(result: JobResult) -> ReportTable:
    """Return each client's numbers, its benefit of joining, and its offer."""
    clients, quality, label = result.clients, judgement(result).quality, judgement(result).quality_label
    clear = {one.client_id: one for one in benefits(result)}

    def of(value: Callable[[ClientResult], Any], form: Callable[[Any], str]) -> list[Cell | None]:
        return [_cell(value(one), form) for one in clients]

    columns = [
        _Column("Users", [Cell(_told(one.users)) for one in clients]),
        _Column("Interactions", [Cell(_told(one.interactions)) for one in clients]),
        _Column("Cases", of(lambda one: one.cases, count)),
        _Column(f"{label} federated", of(lambda one: (one.federated or {}).get(quality), metric)),
        _Column("silo-only", of(lambda one: (one.silo_only or {}).get(quality), metric)),
        _Column("Benefit", [_cell(one.benefit, signed, _mark(clear.get(one.client_id))) for one in clients]),
        _Column("Standard error", of(lambda one: one.benefit_se, metric)),
        _Column("Benefit on validation", of(lambda one: one.validation_benefit, signed)),
        _Column("Standard error", of(lambda one: one.validation_benefit_se, metric)),
        _Column("Offer", of(lambda one: one.offer, str)),
    ]
    return _table("Client", [one.client_id for one in clients], columns)


def rounds_table(result: JobResult) -> ReportTable:
    """Return each round's numbers."""
    rounds, by = result.rounds, judgement(result)

    def of(value: Callable[[RoundResult], Any], form: Callable[[Any], str]) -> list[Cell | None]:
        return [_cell(value(one), form) for one in rounds]

    columns = [
        _Column("Version", of(lambda one: one.version, str)),
        _Column("Merged", of(lambda one: len(one.accepted), count)),
        _Column(
            "Rejected",
            [_cell(len(one.rejected), count, "bad-text" if one.rejected else "") for one in rounds],
        ),
        _Column(
            f"{by.quality_label} (validation)",
            of(lambda one: one.metrics.get(f"validation/{by.quality}"), metric),
        ),
        _Column(
            f"{by.second_label} (validation)",
            of(lambda one: one.metrics.get(f"validation/{by.second}"), metric),
        ),
        _Column("Drift", of(lambda one: one.drift, metric)),
        _Column("Time", of(lambda one: one.seconds.get("total"), seconds)),
        _Column("Updates", of(lambda one: one.update_bytes, in_bytes)),
        _Column("Downloads", of(lambda one: one.download_bytes, in_bytes)),
    ]
    return _table("Round", [str(one.round) for one in rounds], columns)


def _told(number: int | None) -> str:
    return "not told" if number is None else count(number)


def _mark(benefit: ClientBenefit | None) -> str:
    return "bad-text" if benefit is not None and benefit.clearly_loses else ""


def _text(value: Any, form: Callable[[Any], str]) -> str:
    return MISSING if value is None else form(value)


def _cell(value: Any, form: Callable[[Any], str], css: str = "") -> Cell | None:
    return None if value is None else Cell(form(value), css)


def _column(title: str, values: Sequence[Any], form: Callable[[Any], str], css: str = "") -> _Column:
    return _Column(title, [_cell(value, form, css) for value in values])


def _table(
    first: str, names: Sequence[str], columns: Sequence[_Column], css: Sequence[str] | None = None
) -> ReportTable:
    known = [column for column in columns if any(cell is not None for cell in column.cells)]
    rows = tuple(
        ReportRow(
            name,
            tuple(column.cells[place] or Cell(MISSING) for column in known),
            css[place] if css else "",
        )
        for place, name in enumerate(names)
    )
    return ReportTable((first, *(column.title for column in known)), rows)
