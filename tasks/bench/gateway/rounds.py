"""Measures the rounds of one job of three silos by Prefect workers, and by the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, median
from typing import Any

from models.errors import FedrecError
from tasks.bench.gateway.federation import FederationOfProcesses, PrefectWorkers, SilosOfGateway
from tasks.bench.overhead.cases import Case, Synthetic, tables_of
from tasks.datasets.client_assignment import ByChance
from tasks.datasets.partition import make_partition

_SILOS = 3
# Of the size of MovieLens-100K.
_WORLD = Synthetic(users=943, items=1682, liked=106)
# Each round has an evaluation, so it has two steps.
_OVERRIDES = ("evaluation.every=1",)


def bench_rounds(
    folder: Path, rounds: int, announce: Callable[[str], None], database: str | None = None
) -> dict[str, Any]:
    """Return the seconds of a round of three silos by Prefect workers and by the gateway, and their ratio.

    Args:
        folder: an empty folder.
        rounds: number of rounds; each has a training and an evaluation.
        announce: told of each step.
        database: Prefect's, such as "postgresql+asyncpg://user:password@host/prefect"; SQLite by default.

    Raises:
        FedrecError: a job failed, or the two models differ.
    """
    case = Case("rounds", rounds, ByChance(_SILOS), _WORLD)
    tables = tables_of(case, folder, folder / "tables")
    parts = folder / "parts"
    make_partition(tables.interactions, parts, case.split, items=tables.items)
    names = sorted(each.name for each in (parts / "clients").iterdir())
    found, models = {}, set()
    ways: dict[str, FederationOfProcesses] = {
        "prefect_workers": PrefectWorkers(folder / "workers", parts, names, database),
        "gateway": SilosOfGateway(folder / "behind", parts, names),
    }
    for label, federation in ways.items():
        announce(f"{_SILOS} silos train {rounds} rounds: {label.replace('_', ' ')}.")
        with federation.up():
            result = federation.train(rounds, _OVERRIDES)
        models.add(result["model_sha256"])
        found[label] = _row([each["seconds"] for each in result["rounds"]])
    if len(models) != 1:
        raise FedrecError("The two jobs have different models.")
    ratio = found["gateway"]["mean_s"] / found["prefect_workers"]["mean_s"]
    return {"silos": _SILOS, "count": rounds, **found, "ratio": round(ratio, 3)}


def _row(rounds: list[Mapping[str, float]]) -> dict[str, Any]:
    """Return the mean and the median of the rounds, and the median of each of their parts, in seconds."""
    totals = [each["total"] for each in rounds]
    names = sorted({name for each in rounds for name in each} - {"total"})
    parts = {name: round(median(each.get(name, 0.0) for each in rounds), 3) for name in names}
    return {"mean_s": round(mean(totals), 3), "median_s": round(median(totals), 3), "parts_s": parts}
