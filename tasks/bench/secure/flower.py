"""The same sums by Flower's SecAgg+, beside those of this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from models.secure_sum.graph import COMPLETE, DEGREE, threshold
from tasks.bench.overhead.flower import PACKAGE, run_with_flower
from tasks.bench.secure.sums import BITS, SumCase

# Such a sum takes a minute, and its seconds grow with the members.
MOST_MEMBERS = 100


def secagg_row(
    python: Path, case: SumCase, ours: Mapping[str, Any], repeats: int, timeout_s: float
) -> dict[str, Any]:
    """Return the seconds of the stages of a sum by SecAgg+, the median of some sums, beside `sum_row`.

    Flower's own client modifier and server workflow do the work, in one process, without its simulation and
    network. Seeds are shared among as many members as here, and as many of them can open one.

    Args:
        python: a Python that has Flower.
        case: the sum.
        ours: the row that `sum_row` returned for the case.
        repeats: number of sums.
        timeout_s: longer sums are ended.

    Raises:
        FedrecError: Flower failed, made another sum, or was ended.
    """
    shares = case.members if case.members <= COMPLETE else DEGREE + 1
    numbers = (case.members, case.values, BITS, case.width, shares, threshold(shares), repeats)
    script = Path(__file__).with_name("flower_sums.py")
    return row_of_found(case, ours, run_with_flower(python, script, numbers, timeout_s))


def row_of_found(case: SumCase, ours: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of sums of which `flower_sums.py` found these seconds and bytes."""
    runs: list[Mapping[str, float]] = found["seconds"]
    sum_s = median(sum(run.values()) for run in runs)
    return {
        "name": "Flower SecAgg+",
        "members": case.members,
        "values": case.values,
        "sum_s": round(sum_s, 4),
        "parts_s": {name: round(median(run[name] for run in runs), 4) for name in runs[0]},
        "bytes_of_summand": found["bytes"],
        "ratio_sum_s": round(sum_s / ours["sum_s"], 2),
        "ratio_bytes": round(found["bytes"] / ours["bytes_of_summand"], 2),
        "requirement": PACKAGE,
    }
