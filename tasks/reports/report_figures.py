"""The plots of the job report as SVG text. Equal results give equal bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from models.evaluation.judgement import Judgement
from tasks.messages.job_result import JobResult, RoundResult
from tasks.reports.explanation import Explanation
from tasks.reports.explanation_figures import draw_client_drift, draw_map
from tasks.reports.figure_style import (
    BLUE,
    EDGE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SHOWN_CLIENTS,
    SKY,
    SLATE,
    SOFT,
    VERMILION,
    add_boxes,
    drawing,
    is_light,
    number_rounds,
    short,
    stacked,
    svg,
)
from tasks.reports.result_rows import ClientBenefit, TimeShare, client_drifts, in_bytes, judgement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGE_COLOURS: dict[str, str] = {
    "Start-up": "#7b8794",
    "Training": BLUE,
    "Transfer": "#a3b8c2",
    "Polling": "#e4a3c4",
    "Merging": GREEN,
    "Contracts": ORANGE,
    "Tracking": PURPLE,
    "Evaluation": SKY,
    "Baselines": "#F0E442",
    "Report": SLATE,
    "Orchestration": VERMILION,
    "Not accounted for": "#cbd2d9",
}
SHOWN_ROUNDS = 60


def draw_all(
    result: JobResult,
    gains: Sequence[ClientBenefit],
    times: Sequence[TimeShare],
    explanation: Explanation,
) -> dict[str, str]:
    """Return figure name -> `<svg>` element, for every figure for which the result has numbers."""
    rounds, drifts, by = result.rounds, client_drifts(result), judgement(result)
    drawn: dict[str, str] = {}
    with drawing():
        if convergence := _draw_convergence(rounds, by):
            drawn["convergence"] = svg(convergence, "convergence", "Validation metrics and drift by round")
        if rounds:
            drawn["rounds"] = svg(_draw_rounds(result), "rounds", "Contracts and clients by round")
        if any(any(one.seconds.values()) for one in rounds):
            drawn["seconds"] = svg(_draw_seconds(rounds), "seconds", "Seconds of each round by stage")
        if any(one.update_bytes for one in rounds):
            drawn["bytes"] = svg(_draw_bytes(rounds), "bytes", "Bytes of updates by round")
        if gains:
            drawn["benefit"] = svg(
                _draw_benefit(gains, by.benefit_label),
                "benefit",
                "Benefit of joining by client, with intervals",
            )
        if drifts:
            drawn["client_drift"] = draw_client_drift(rounds[-SHOWN_ROUNDS:], drifts[:SHOWN_CLIENTS])
        if explanation.map:
            drawn["map"] = draw_map(explanation.map)
        drawn["wall_time"] = svg(_draw_wall_time(times), "wall", "Shares of the wall time by stage")
    return drawn


def shown_benefits(gains: Sequence[ClientBenefit]) -> list[ClientBenefit]:
    """Return the clients that fit into the figure: all, or the two ends of the list."""
    half = SHOWN_CLIENTS // 2
    return list(gains) if len(gains) <= SHOWN_CLIENTS else [*gains[:half], *gains[-half:]]


def _draw_convergence(rounds: Sequence[RoundResult], by: Judgement) -> Figure | None:
    """Draw a panel for each measure that has values; None if none has."""
    quality, second = f"validation/{by.quality}", f"validation/{by.second}"
    metrics = (
        (f"{by.quality_label} on validation", BLUE, "o", [one.metrics.get(quality) for one in rounds]),
        (f"{by.second_label} on validation", VERMILION, "s", [one.metrics.get(second) for one in rounds]),
    )
    # A logarithm has no place for a round that moved nothing.
    drifts = [one.drift or None for one in rounds]
    drift = ("Drift: how far the merged model moved (logarithmic)", SOFT, "", drifts)
    panels = [
        (title, colour, marker, [(x.round, y) for x, y in zip(rounds, values, strict=True) if y is not None])
        for title, colour, marker, values in (*metrics, drift)
    ]
    panels = [panel for panel in panels if panel[-1]]
    if not panels:
        return None
    figure, every = stacked(len(panels), height=1.45)
    for axes, (title, colour, marker, points) in zip(every, panels, strict=True):
        _draw_line(axes, points, colour, marker)
        axes.set_title(title)
        if title == drift[0]:
            # Logarithmic, because the first round's large move from random values would flatten all others.
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
    every[-1].set_xlabel("round")
    return figure


def _draw_line(axes: Axes, points: Sequence[tuple[int, float]], colour: str, marker: str) -> None:
    axes.plot(
        [x for x, _ in points], [y for _, y in points], color=colour, marker=marker, markersize=4, lw=1.8
    )
    axes.margins(y=0.18)
    axes.grid(axis="y", color=FAINT, lw=0.7)
    axes.annotate(
        f"{points[-1][1]:.3g}" if not marker else f"{points[-1][1]:.4f}",
        points[-1],
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontweight="bold",
        annotation_clip=False,
    )


def _draw_benefit(gains: Sequence[ClientBenefit], worth: str) -> Figure:
    shown = shown_benefits(gains)
    figure, (axes,) = stacked(1, height=0.55 + 0.235 * max(len(shown), 2))
    for place, one in enumerate(shown):
        axes.barh(
            place,
            one.mean,
            height=0.72,
            color=VERMILION if one.clearly_loses else BLUE if one.clearly_gains else EDGE,
            hatch="////" if one.clearly_loses else None,
            linewidth=0,
        )
        if one.margin is not None:
            axes.errorbar(one.mean, place, xerr=one.margin, color=INK, lw=1, capsize=2.2, capthick=1)
    axes.axvline(0, color=INK, lw=1)
    axes.set_yticks(
        range(len(shown)),
        [f"{'▼ ' if one.clearly_loses else ''}{short(one.client_id)} ({one.cases})" for one in shown],
    )
    for label, one in zip(axes.get_yticklabels(), shown, strict=True):
        label.set_color(VERMILION if one.clearly_loses else INK)
        label.set_fontweight("bold" if one.clearly_loses else "normal")
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, lw=0.7)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(f"{worth}, federated minus silo-only")
    return figure


def _draw_rounds(result: JobResult) -> Figure:
    """Draw a grid: at the top each round's contracts, below whether each client was merged or rejected."""
    rounds = result.rounds[-SHOWN_ROUNDS:]
    place = {one.round: x for x, one in enumerate(rounds)}
    good: list[tuple[float, float]] = []
    bad: list[tuple[float, float]] = []
    by_round = [one for one in result.contracts if _round_of(one.subject) in place]
    names = list(dict.fromkeys(one.contract for one in by_round))
    for check in by_round:
        y = names.index(check.contract)
        (good if check.passed else bad).append((place[_round_of(check.subject)], y))
    clients = _shown_clients(result)
    first = len(names) + 0.7 if names else 0
    rows = {client_id: first + y for y, client_id in enumerate(clients)}
    for one in rounds:
        x = place[one.round]
        good += [(x, rows[client_id]) for client_id in one.accepted if client_id in rows]
        bad += [(x, rows[rejected.client_id]) for rejected in one.rejected if rejected.client_id in rows]
    figure, (axes,) = stacked(1, height=0.75 + 0.19 * (len(names) + len(clients) + 0.7))
    size = min(51.0, 51.0 * (32 / max(len(rounds), 1)) ** 2)
    wide = min(0.32, 0.011 * len(rounds))
    add_boxes(axes, [(x - wide, x + wide, y - 0.21, y + 0.21) for x, y in good], SKY)
    crosses = np.array(bad).reshape(-1, 2)
    axes.scatter(crosses[:, 0], crosses[:, 1], s=size, marker="X", color=VERMILION, linewidths=0)
    axes.set_yticks([*range(len(names)), *rows.values()], [*names, *(short(name) for name in clients)])
    for y, label in enumerate(axes.get_yticklabels()):
        label.set_fontweight("bold" if y < len(names) else "normal")
    number_rounds(axes, [one.round for one in rounds])
    axes.set_ylim(first + len(clients) - 0.3, -0.7)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _draw_wall_time(times: Sequence[TimeShare]) -> Figure:
    figure, (axes,) = stacked(1, height=0.62)
    left = 0.0
    for one in times:
        colour = STAGE_COLOURS[one.label]
        axes.barh(0, one.seconds, left=left, color=colour, edgecolor="white", linewidth=1)
        if one.share > 0.09:  # noqa: PLR2004 - text does not fit into narrower parts
            ink = INK if is_light(colour) else "white"
            axes.text(left + one.seconds / 2, 0, f"{one.share:.0%}", ha="center", va="center", color=ink)
        left += one.seconds
    axes.set_xlim(0, left or 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
    return figure


def _draw_seconds(rounds: Sequence[RoundResult]) -> Figure:
    stages = {
        "train": "Training",
        "transfer": "Transfer",
        "polling": "Polling",
        "merge": "Merging",
        "contracts": "Contracts",
        "tracking": "Tracking",
        "evaluate": "Evaluation",
    }
    figure, (axes,) = stacked(1, height=2.4)
    bottom = [0.0] * len(rounds)
    for key, label in stages.items():
        heights = [one.seconds.get(key) or 0.0 for one in rounds]
        if key in ("transfer", "polling") and not any(heights):
            continue  # the clients are threads
        bottom = _stack(axes, heights, bottom, STAGE_COLOURS[label], label)
    rest = [
        max(0.0, (one.seconds.get("total") or 0.0) - low) for one, low in zip(rounds, bottom, strict=True)
    ]
    _stack(axes, rest, bottom, STAGE_COLOURS["Not accounted for"], "Rest")
    _finish_bars(axes, rounds, "seconds")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False)
    return figure


def _draw_bytes(rounds: Sequence[RoundResult]) -> Figure:
    figure, (axes,) = stacked(1, height=1.9)
    _stack(axes, [one.update_bytes for one in rounds], [0.0] * len(rounds), BLUE)
    _finish_bars(axes, rounds, "")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: in_bytes(value)))
    return figure


def _stack(
    axes: Axes, heights: Sequence[float], bottom: Sequence[float], colour: str, label: str = ""
) -> list[float]:
    """Draw one bar a round on top of `bottom`, and return the tops."""
    tops = [low + height for low, height in zip(bottom, heights, strict=True)]
    boxes = [(x - 0.425, x + 0.425, low, top) for x, (low, top) in enumerate(zip(bottom, tops, strict=True))]
    add_boxes(axes, boxes, colour, label)
    return tops


def _finish_bars(axes: Axes, rounds: Sequence[RoundResult], label: str) -> None:
    axes.grid(axis="y", color=FAINT, lw=0.7)
    number_rounds(axes, [one.round for one in rounds])
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)


def _shown_clients(result: JobResult) -> list[str]:
    """Return all clients or, if they do not fit into the figure, those that were rejected."""
    rejected = {one.client_id for each in result.rounds for one in each.rejected}
    # Of secure sums the result has only the clients that publish theirs.
    accepted = {client_id for one in result.rounds for client_id in one.accepted}
    clients = sorted(rejected | accepted | {one.client_id for one in result.clients})
    if len(clients) > SHOWN_CLIENTS:
        clients = [client_id for client_id in clients if client_id in rejected][:SHOWN_CLIENTS]
    return clients


def _round_of(subject: str) -> int:
    """Return the round that a contract's subject names (`round-7`); -1 if it names a client."""
    found = re.fullmatch(r"round-(\d+)", subject)
    return int(found[1]) if found else -1
