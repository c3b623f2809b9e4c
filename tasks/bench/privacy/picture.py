"""The picture of quality against epsilon, as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.bench.privacy.arms import ARMS
from tasks.bench.privacy.table_rows import EXACT

_METRIC, _LABEL = "loo_ndcg@10", "NDCG@10 among 99 other items"
# Of the palette by Okabe & Ito for the colour-blind.
_STYLES = {
    "popularity": ("#999999", "s"),
    "content only": ("#E69F00", "^"),
    "ease": ("#CC79A7", "D"),
    "dp_items": ("#0072B2", "o"),
}
_SETTINGS: Any = {"svg.hashsalt": "fedrec", "svg.fonttype": "none", "font.family": "sans-serif"}


def picture(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a line with 95 % intervals for each recommender, and one for what needs no privacy."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for arm in ARMS:
            own = [row for row in rows if (row["arm"], row["metric"]) == (arm, _METRIC)]
            own.sort(key=lambda row: float(row["epsilon"]))
            values = [row["value"] for row in own]
            colour, marker = _STYLES[arm]
            axes.errorbar(
                [row["epsilon"] for row in own],
                values,
                yerr=[
                    [row["value"] - row["low"] for row in own],
                    [row["high"] - row["value"] for row in own],
                ],
                color=colour,
                marker=marker,
                capsize=3,
                label=arm,
            )
        for row in rows:
            if (row["arm"], row["metric"]) == (EXACT, _METRIC):
                axes.axhline(row["value"], color="#009E73", linestyle="--", label=EXACT)
        epsilons = sorted({row["epsilon"] for row in rows if row["epsilon"] is not None})
        axes.set_xscale("log", base=2)
        axes.set_xticks(epsilons, [f"{each:g}" for each in epsilons])
        axes.minorticks_off()
        axes.set_xlabel(f"epsilon of each user (delta {rows[0]['delta']:g}); less is more private")
        axes.set_ylabel(_LABEL)
        figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize="small")
        buffer = io.StringIO()
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
