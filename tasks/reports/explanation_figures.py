"""The plots that explain a model: a map of its items, and the directions of the clients' updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_hex
from matplotlib.ticker import MaxNLocator

from models.federation.client_drift import ClientDrift
from tasks.messages.job_result import RoundResult
from tasks.reports.explanation import ItemMap
from tasks.reports.figure_style import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    SLATE,
    VERMILION,
    add_boxes,
    blank,
    number_rounds,
    short,
    svg,
    with_titles,
)
from tasks.reports.result_rows import ClientDrifts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One marker and colour for each label, so that shape alone distinguishes them too.
_MARKS = (
    (BLUE, "o"),
    (VERMILION, "^"),
    (GREEN, "s"),
    (ORANGE, "D"),
    (PURPLE, "v"),
    (SKY, "P"),
    (SLATE, "X"),
)
_OTHER = ("#b0bac4", ".")
# A colour map for colour-blind readers, without the colours that are too dark for a dark page. It has few
# steps, because all cells of one step are one path.
_SHADES = ListedColormap(colormaps["cividis"](np.linspace(0.2, 1.0, 16)))
# The colour for a client that is not in a round, or whose update was not compared.
_UNSEEN = ClientDrift(math.nan, math.nan)
# Up to this number of rounds, there is room for numbers in the cells.
_NUMBERED_ROUNDS = 3


def draw_map(items: ItemMap) -> str:
    """Draw the items in their principal plane, as an `<svg>` element. Each mark shows its item's title."""
    figure = blank(4.9)
    axes = figure.subplots()
    x, y, label = (np.asarray(each) for each in (items.x, items.y, items.label))
    groups = []
    # Items without a label are drawn below all others.
    for place in (-1, *range(len(items.labels))):
        rows = np.flatnonzero(label == place)
        if not rows.size:
            continue
        colour, marker = _OTHER if place < 0 else _MARKS[place]
        name = ("other" if items.labels else "items") if place < 0 else items.labels[place]
        marks = axes.scatter(
            x[rows],
            y[rows],
            s=13 if place >= 0 else 26,
            marker=marker,
            color=colour,
            alpha=0.75,
            linewidths=0,
        )
        marks.set_label(short(name, 14))
        marks.set_gid(f"label{place}")
        groups.append((f"map-label{place}", [items.titles[row] for row in rows.tolist()]))
    for name, axis, share in zip(("First", "Second"), (axes.xaxis, axes.yaxis), items.explained, strict=True):
        axis.set_label_text(f"{name} axis: {share:.1%} of the variance")
        axis.set_major_locator(MaxNLocator(5))
    axes.axhline(0, color=FAINT, lw=0.7, zorder=0)
    axes.axvline(0, color=FAINT, lw=0.7, zorder=0)
    figure.legend(loc="outside upper left", ncols=4, frameon=False, handletextpad=0.1, columnspacing=1.0)
    text = svg(figure, "map", "Items in the plane in which their vectors differ most")
    for group, titles in groups:
        text = with_titles(text, group, titles)
    return text


def draw_client_drift(rounds: Sequence[RoundResult], drifts: Sequence[ClientDrifts]) -> str:
    """Draw a grid of clients by rounds twice, as an `<svg>` element: cosines with the sum, and lengths."""
    figure = blank(1.3 + 0.19 * len(drifts))
    left, right = figure.subplots(1, 2, sharey=True)
    by_round = [one.client_drift for one in rounds]
    seen = [[each.get(one.client_id, _UNSEEN) for each in by_round] for one in drifts]
    for axes, values, title in (
        (left, [[each.cosine for each in row] for row in seen], "Cosine with the sum"),
        (right, [[each.norm for each in row] for row in seen], "Length ÷ that of the sum"),
    ):
        _draw_grid(figure, axes, np.array(values), [one.round for one in rounds])
        axes.set_title(title)
    left.set_yticks(range(len(drifts)), [short(one.client_id, 14) for one in drifts])
    left.set_ylim(len(drifts) - 0.5, -0.5)
    return svg(figure, "client-drift", "Direction and length of each client's update by round")


def _draw_grid(figure: Figure, axes: Axes, values: np.ndarray, rounds: Sequence[int]) -> None:
    """Draw (clients, rounds) values; NaN leaves a cell empty."""
    is_seen = ~np.isnan(values)
    scale = Normalize(*((values[is_seen].min(), values[is_seen].max()) if is_seen.any() else (0.0, 1.0)))
    steps = np.floor(np.clip(scale(np.where(is_seen, values, 0.0)), 0, 1) * _SHADES.N).clip(max=_SHADES.N - 1)
    for step in np.unique(steps[is_seen]):
        cells = np.argwhere(is_seen & (steps == step))
        boxes = [(x - 0.5, x + 0.5, y - 0.5, y + 0.5) for y, x in cells.tolist()]
        add_boxes(axes, boxes, to_hex(_SHADES(int(step))), edge=0.3)
    if len(rounds) <= _NUMBERED_ROUNDS:
        middle = (np.nanmax(values) + np.nanmin(values)) / 2
        for row, column in np.argwhere(is_seen):
            value = values[row, column]
            ink = "white" if value <= middle else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color=ink)
    number_rounds(axes, rounds, labels=6)
    axes.set_xlim(-0.5, len(rounds) - 0.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.colorbar(
        ScalarMappable(scale, _SHADES),
        ax=axes,
        location="bottom",
        aspect=25,
        ticks=MaxNLocator(4),
        shrink=0.9,
    )
