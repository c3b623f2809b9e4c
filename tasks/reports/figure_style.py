"""The style of all plots of the job report, and their conversion to SVG.

Figures are made with matplotlib's objects, without pyplot. Threads share only the settings, which a lock
protects. The colours are those of Okabe & Ito, which colour-blind readers can distinguish. Shape or text also
shows everything that matters.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7"
INK, FAINT, EDGE, SOFT, SLATE, WHITE = "#1f2933", "#d9dee3", "#9aa5b1", "#52606d", "#3e4c59", "#ffffff"
# Colours that are too dark on a dark page. The page defines each as a variable, for light and dark.
_VARIABLES = {INK: "ink", FAINT: "line", EDGE: "edge", SOFT: "soft", SLATE: "slate", BLUE.lower(): "blue"}
SHOWN_CLIENTS = 40
_WIDTH = 4.9  # inches: small enough for a phone to show the text at a readable size
_SETTINGS: Any = {
    "svg.hashsalt": "fedrec",
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "figure.edgecolor": "none",
    "axes.facecolor": "none",
    "text.parse_math": False,  # a client's name may be "$x$"
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": EDGE,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 1.0,
    "hatch.color": "white",
}
_lock = threading.Lock()


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Draw figures in the report's style while the block runs, in one thread at a time."""
    with _lock, mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # Text stays text in the reader's fonts, so a glyph that is missing here does not matter.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def number_rounds(axes: Axes, numbers: Sequence[int], labels: int = 10) -> None:
    """Label the x axis, whose unit is one round, with the numbers of at most `labels` rounds."""
    step = max(1, -(-len(numbers) // labels))
    axes.set_xticks(range(0, len(numbers), step), [str(number) for number in numbers[::step]])
    axes.set_xlim(-0.7, len(numbers) - 0.3)
    axes.set_xlabel("round")


def blank(height: float) -> Figure:
    """Return an empty figure; `height` is in inches."""
    return Figure(figsize=(_WIDTH, height), layout="constrained")


def stacked(count: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with a column of panels that share the x axis, each `height` inches high."""
    figure = blank(height * count + 0.35)
    every = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    every[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    return figure, list(every)


def add_boxes(
    axes: Axes,
    boxes: Iterable[tuple[float, float, float, float]],
    colour: str,
    label: str = "",
    edge: float = 0.0,
) -> None:
    """Draw boxes of one colour as one path, which costs little more than a single box.

    Args:
        axes: where they are drawn.
        boxes: (left, right, bottom, top) of each, in data coordinates.
        colour: the colour.
        label: text of the legend.
        edge: width of their edges, which have the same colour, in points.
    """
    corners = [
        corner
        for left, right, bottom, top in boxes
        for corner in ((left, bottom), (right, bottom), (right, top), (left, top), (left, bottom))
    ]
    if not corners:
        return
    one = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    path = Path(np.array(corners, dtype=float), one * (len(corners) // len(one)))
    # Not `add_patch`, which measures the path corner by corner.
    axes.add_artist(PathPatch(path, facecolor=colour, edgecolor=colour, linewidth=edge, label=label))
    axes.update_datalim(path.vertices)
    axes.autoscale_view()


def svg(figure: Figure, name: str, description: str) -> str:
    """Return the figure as one `<svg>` element, with ids that are unique in the page."""
    buffer = io.StringIO()
    # Not `savefig`, which draws each figure twice.
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    # Ids count from 1 in each figure, but must be unique in the page.
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r'style="[^"]*"', lambda found: _themed_style(found[0]), text)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)


def themed(colour: str) -> str:
    """Return a colour "#rrggbb" as CSS that suits light and dark pages."""
    variable = _VARIABLES.get(colour.lower())
    return f"var(--{variable})" if variable else colour


def _themed_style(style: str) -> str:
    # White lines separate areas of colour. They are the panel that shines through.
    style = style.replace(f"stroke: {WHITE}", "stroke: var(--panel)")
    return re.sub(r"#[0-9a-f]{6}\b", lambda found: themed(found[0]), style)


def with_titles(text: str, marks: str, titles: Sequence[str]) -> str:
    """Return the SVG with a title for each mark of one scatter plot, which browsers show under the pointer.

    Args:
        text: the result of `svg`.
        marks: the scatter's group id, without the figure's name before it.
        titles: one for each mark, in order.
    """
    start = text.index(f'id="{marks}"')
    following = iter(titles)
    named = re.sub(
        r"<use ([^>]*?)/>",
        lambda found: f"<use {found[1]}><title>{escape(next(following))}</title></use>",
        text[start:],
        count=len(titles),
    )
    return text[:start] + named


def short(name: str, length: int = 18) -> str:
    """Return the name, truncated to `length` characters."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def is_light(colour: str) -> bool:
    """Return whether text on this colour, "#rrggbb", should be dark."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140  # noqa: PLR2004 - perceived brightness of 255
