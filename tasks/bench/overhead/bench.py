"""The overhead benchmark: its cases one after the other, continued after an interruption."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tasks.bench.overhead import flower
from tasks.bench.overhead.cases import chosen_cases
from tasks.bench.overhead.kept_results import KeptResults
from tasks.bench.overhead.revision import checked_out, commit_of, same_lock
from tasks.bench.overhead.rows import CaseMeasurement
from tasks.bench.overhead.train_command import Checkout
from tasks.local.home import Home
from tasks.tracking.run_tracker import git_revision

_OWN = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class OverheadRequest:
    """What is to be measured.

    Attributes:
        movielens: the folder that `fedrec data fetch ml-100k` writes.
        cases: names of the cases; empty for all.
        quick: whether to measure small cases instead.
        flower: whether to measure Flower's simulation too.
        against: the git revision to compare with, if any.
        timeout_s: a longer `fedrec train` is ended.
    """

    movielens: Path
    cases: Sequence[str]
    quick: bool
    flower: bool
    against: str | None
    timeout_s: float


def bench_overhead(request: OverheadRequest, home: Home, announce: Callable[[str], None]) -> dict[str, Any]:
    """Return the rows of all cases, and those of Flower and of the revision if they are requested.

    Args:
        request: what is measured.
        home: below it lie the temporary files, and the results of an interrupted run.
        announce: is called with a line of text before each step.

    Raises:
        FedrecError: something that the request needs is missing, or Flower failed. A row whose job failed has
            the reason as "failed" instead of figures.
    """
    cases = chosen_cases(request.cases, quick=request.quick, flower=request.flower)
    commit = commit_of(_OWN, request.against) if request.against else None
    home.root.mkdir(parents=True, exist_ok=True)
    key = {"quick": request.quick, "against": commit, "code": git_revision(), "data": str(request.movielens)}
    kept = KeptResults.of(home.root / "bench-overhead.json", key)
    if kept.found:
        announce(f"Continuing an interrupted run, which measured {', '.join(kept.found)}.")
    warn_of_load(announce)
    bench = CaseMeasurement(
        request.movielens, home.root, Checkout(_OWN, "this revision"), None, request.timeout_s, announce
    )
    result: dict[str, Any] = {"quick": request.quick, "cpus": os.cpu_count()}
    with contextlib.ExitStack() as stack:
        if commit:
            previous = stack.enter_context(checked_out(_OWN, commit, home.root))
            bench = replace(bench, previous=previous)
            result["against"] = {"commit": commit, "same_lock": same_lock(_OWN, previous.root)}
            if not result["against"]["same_lock"]:
                announce(f"{previous.name} locks other dependencies, but runs with those of this revision.")
        found = [_kept(kept, case.name, partial(bench.measure, case)) for case in cases]
        result["rows"] = [each["row"] for each in found]
        if commit:
            result["previous"] = [each["previous"] for each in found]
        if request.flower:
            result["flower"] = _flower_rows(request, home, kept, announce)
    if all(case.name in kept.found for case in cases):
        kept.forget()
    return result


def _kept(kept: KeptResults, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the kept result, or measure it and keep it unless this revision's job failed."""
    if name in kept.found:
        return dict(kept.found[name])
    found = measure()
    if "failed" not in found.get("row", {}):
        kept.keep(name, found)
    return found


def _flower_rows(
    request: OverheadRequest, home: Home, kept: KeptResults, announce: Callable[[str], None]
) -> list[dict[str, Any]]:
    cases = flower.QUICK if request.quick else flower.FULL
    if all(case.name in kept.found for case in cases):
        return [kept.found[case.name] for case in cases]
    rows = []
    with flower.flower_python(home.root, flower.WITH_SIMULATION, announce) as python:
        for case in cases:
            announce(f"Flower: {case.clients} clients, {case.rounds} rounds")
            rows.append(_kept(kept, case.name, partial(flower.flower_row, python, case, request.timeout_s)))
    return rows


def warn_of_load(announce: Callable[[str], None]) -> None:
    """Announce that the machine is busy, if it is."""
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    if load > cpus / 2:
        announce(f"This machine is busy (load {load:.1f} on {cpus} processors), which distorts the ratios.")
