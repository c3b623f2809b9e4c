"""The picture of the overhead: where the seconds of each command go, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

# Activity of `parts_s` -> its name and its colour, of the palette by Okabe & Ito for the colour-blind.
_PARTS = {
    "startup": ("start-up", "#999999"),
    "train": ("training", "#009E73"),
    "merge": ("merging", "#56B4E9"),
    "contracts": ("contracts", "#E69F00"),
    "evaluate": ("evaluation", "#0072B2"),
    "tracking": ("tracking", "#CC79A7"),
    "report": ("report", "#D55E00"),
    "rest": ("Prefect and the rest", "#DDDDDD"),
}
_BARE = "#009E73"
_WIDTH, _LEFT, _BAR_WIDTH = 860, 130, 620
_BAR, _STEP, _HEAD, _GAP, _LEGEND = 16, 22, 24, 14, 48

Result = Mapping[str, Any]


def picture(result: Result) -> str:
    """Return bars of each row: the bare loop, the command, and the previous revision's command if measured.

    The bars of one row have one scale, because rows differ by orders of magnitude.
    """
    drawn, y = [], _LEGEND
    previous = result.get("previous", [None] * len(result["rows"]))
    for row, then in zip(result["rows"], previous, strict=True):
        bars = list(_bars(row, then))
        if not bars:
            continue
        longest = max(sum(part for _, part in parts) for _, parts in bars)
        drawn.append(_text(8, y + 14, _title(row), weight="bold"))
        y += _HEAD
        for label, parts in bars:
            drawn += _bar(y, label, parts, _BAR_WIDTH / longest)
            y += _STEP
        y += _GAP
    title = "Seconds of fedrec train by activity, beside a bare loop of the same training"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img" '
            'font-family="sans-serif" font-size="12">',
            f"<title>{title}</title>",
            f'<rect width="{_WIDTH}" height="{y}" fill="#FFFFFF"/>',
            *_legend(),
            *drawn,
            "</svg>\n",
        ]
    )


def _bars(row: Result, then: Result | None) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Yield (label, parts as (colour, seconds)) of the bars of a row that has not failed."""
    if "failed" in row:
        return
    yield "bare loop", [(_BARE, row["bare_s"])]
    yield "fedrec train", _coloured(row)
    if then and "failed" not in then:
        yield then["revision"], _coloured(then)


def _coloured(row: Result) -> list[tuple[str, float]]:
    return [(colour, row["parts_s"][name]) for name, (_, colour) in _PARTS.items()]


def _title(row: Result) -> str:
    return f"{row['clients']:,} clients, {row['rounds']} rounds, {row['items']:,} items"


def _bar(y: int, label: str, parts: list[tuple[str, float]], scale: float) -> Iterator[str]:
    yield _text(8, y + 12, label)
    x = float(_LEFT)
    for colour, seconds in parts:
        if seconds > 0:
            yield (
                f'<rect x="{x:.1f}" y="{y}" width="{seconds * scale:.1f}" height="{_BAR}" fill="{colour}"/>'
            )
            x += seconds * scale
    yield _text(x + 6, y + 12, f"{sum(seconds for _, seconds in parts):,.1f} s")


def _legend() -> Iterator[str]:
    for place, (name, colour) in enumerate(_PARTS.values()):
        x, y = 8 + place % 4 * 200, 8 + place // 4 * 18
        yield f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/>'
        yield _text(x + 18, y + 11, name)


def _text(x: float, y: int, text: str, weight: str = "normal") -> str:
    return f'<text x="{x:.0f}" y="{y}" font-weight="{weight}" fill="#222222">{escape(text)}</text>'
