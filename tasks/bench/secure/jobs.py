"""Runs the same job with plain and with secure sums, over local clients and over real silos."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from models.errors import FedrecError
from tasks.bench.gateway.federation import SilosOfGateway
from tasks.bench.overhead.cases import Case, Synthetic, tables_of
from tasks.bench.overhead.train_command import Checkout, run_train
from tasks.datasets.client_assignment import ByChance
from tasks.datasets.partition import make_partition

# Of the size of MovieLens-100K.
WORLD = Synthetic(users=943, items=1682, liked=106)
SMALL_WORLD = Synthetic(users=60, items=200, liked=20)
_SILOS = 3
_WAYS = {"plain": False, "secure": True}


def job_row(
    folder: Path, clients: int, rounds: int, world: Synthetic, announce: Callable[[str], None]
) -> dict[str, Any]:
    """Return the seconds and bytes of whole jobs of local clients with plain and with secure sums.

    Args:
        folder: an empty folder.
        clients, rounds: their numbers.
        world: the users.
        announce: told of each step.

    Raises:
        FedrecError: a job failed, or the models differ.
    """
    case = Case("secure", rounds, ByChance(clients), world)
    tables = tables_of(case, folder, folder / "tables")
    checkout = Checkout(Path(__file__).parents[3], "fedrec")
    found: dict[str, Any] = {"clients": clients, "rounds": rounds}
    models = set()
    for way, is_secure in _WAYS.items():
        announce(f"{clients} clients train {rounds} rounds with {way} sums.")
        changes = {"privacy": {"secure_sum": is_secure}}
        run = run_train(checkout, case, tables, folder / way, 3600.0, changes)
        models.add(run.model_sha256)
        found[way] = {
            "job_s": round(run.job_s, 2),
            "cpu_s": round(run.cpu_s, 2),
            **_bytes(folder / way / "home"),
        }
    _require_one(models)
    for name in ("job_s", "cpu_s"):
        found[f"ratio_{name}"] = round(found["secure"][name] / found["plain"][name], 3)
    return found


def silos_row(folder: Path, rounds: int, announce: Callable[[str], None]) -> dict[str, Any]:
    """Return the seconds of a round of three silos behind a gateway with plain and with secure sums.

    Args:
        folder: an empty folder.
        rounds: number of rounds; each has a training and an evaluation.
        announce: told of each step.

    Raises:
        FedrecError: a job failed, or the models differ.
    """
    case = Case("secure", rounds, ByChance(_SILOS), WORLD)
    tables = tables_of(case, folder, folder / "tables")
    parts = folder / "parts"
    make_partition(tables.interactions, parts, case.split, items=tables.items)
    names = sorted(each.name for each in (parts / "clients").iterdir())
    found: dict[str, Any] = {"silos": _SILOS, "rounds": rounds}
    models = set()
    for way, is_secure in _WAYS.items():
        announce(f"{_SILOS} silos behind a gateway train {rounds} rounds with {way} sums.")
        federation = SilosOfGateway(folder / way, parts, names)
        with federation.up():
            federation.introduce()
            overrides = ("evaluation.every=1", f"privacy.secure_sum={json.dumps(is_secure)}")
            result = federation.train(rounds, overrides)
        models.add(result["model_sha256"])
        totals = [each["seconds"]["total"] for each in result["rounds"]]
        found[way] = {"round_s": round(median(totals), 3), "rounds_s": [round(each, 3) for each in totals]}
    _require_one(models)
    found["ratio"] = round(found["secure"]["round_s"] / found["plain"]["round_s"], 3)
    return found


def _bytes(home: Path) -> dict[str, int]:
    """Return the bytes of all rounds of the only job of a home."""
    (file,) = (home / "jobs").glob("*/result.json")
    rounds: list[Mapping[str, Any]] = json.loads(file.read_bytes())["rounds"]
    return {name: sum(each[name] or 0 for each in rounds) for name in ("update_bytes", "download_bytes")}


def _require_one(models: set[str]) -> None:
    if len(models) != 1:
        raise FedrecError("Plain and secure sums made different models.")
