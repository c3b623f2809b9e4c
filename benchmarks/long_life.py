"""Measures what a long life costs: many evaluated rounds of one job, then thousands of versions of one model.

It trains a tiny job whose rounds are all evaluated, and compares its last rounds with its first ones. Then it
measures a promotion, a publisher's look and the registration of a round at few versions and at many, which it
adds by SQL. The ratios come from one run. These three are milliseconds of processor time, which other work on
the machine hardly changes. With --server, all of it goes through a server of MLflow on this machine. Its time
counts too, so the three are wall time then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from tasks.datasets.client_assignment import ByChance
from tasks.datasets.partition import make_partition
from tasks.local.environment import settings
from tasks.local.home import Home

MODEL = "bench"
TIMEOUT_S = 180


def main() -> None:
    """Print a table, or one JSON object with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=12_000)
    parser.add_argument("--tries", type=int, default=5, help="calls of each step in a turn")
    parser.add_argument("--turns", type=int, default=4, help="turns of few and many versions")
    parser.add_argument("--server", action="store_true", help="use MLflow's server instead of its database")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder).resolve())
        os.environ["FEDREC_HOME"] = str(home.root)
        os.environ |= settings(home)
        with mlflow_server(home) if arguments.server else contextlib.nullcontext():
            report = {"server": arguments.server, "rounds": rounds(home, arguments.rounds)}
            report["versions"] = versions(home, arguments)
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{'':<28}{'first':>12}{'last':>12}{'ratio':>8}")
    for name, (first, last) in {**report["rounds"], **report["versions"]}.items():
        print(f"{name:<28}{first:>10.1f} ms{last:>9.1f} ms{last / first:>8.2f}")


def rounds(home: Home, count: int) -> dict[str, tuple[float, float]]:
    """Train a tiny job of evaluated rounds, and return milliseconds of its first and its last rounds."""
    from flows.local import train_locally
    from flows.settings.training_config import parse_config

    draw = np.random.default_rng(1)
    table = pd.DataFrame(
        [(f"u{user}", f"i{item}") for user in range(30) for item in draw.permutation(25)[:8]],
        columns=["user_id", "item_id"],
    )
    table.to_csv(home.root / "interactions.csv", index=False)
    make_partition(home.root / "interactions.csv", home.root / "partition", ByChance(2, seed=0))
    raw = {
        "name": "bench",
        "model_name": MODEL,
        "data": {"dir": str(home.root / "partition")},
        "train": {"dims": 4},
        "federation": {"rounds": count},
        "evaluation": {"every": 1, "negatives": 9, "silo_only": False},
    }
    result = train_locally(parse_config(raw, "the benchmark"))
    if result.status != "finished":
        raise SystemExit(f"The job stopped: {result.stop_reason}")
    some = max(1, count // 8)
    # The first round also opens the run.
    early, late = result.rounds[1 : 1 + some], result.rounds[-some:]
    return {
        f"a round's {name}": tuple(
            1000 * median(each.seconds.get(name, 0.0) for each in part) for part in (early, late)
        )
        for name in ("tracking_beside", "total")
    }


def versions(home: Home, arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return milliseconds of each step at few versions and at many.

    Few and many take turns, so that other work on the machine does not count for one of them only.
    """
    clock = time.perf_counter if arguments.server else time.process_time
    steps = Steps.of(home, arguments.few)
    calls = steps.calls()
    few: dict[str, list[float]] = {name: [] for name in calls}
    many: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(arguments.turns):
        for found in (few, many):
            for name, call in calls.items():
                found[name] += timed(call, arguments.tries, clock)
            if found is few:
                copy_newest(home, arguments.many - arguments.few)
        remove_after(home, arguments.few)
    return {name: (median(few[name]), median(many[name])) for name in calls}


def timed(call: Callable[[], object], tries: int, clock: Callable[[], float]) -> list[float]:
    """Return the milliseconds of some calls, after one that fills the caches."""
    call()
    found = []
    for _ in range(tries):
        began = clock()
        call()
        found.append(1000 * (clock() - began))
    return found


@dataclass
class Steps:
    """A model with few versions, and what is done to it again and again."""

    home: Home
    client: Any
    tracker: Any
    record: Any
    model: bytes

    @classmethod
    def of(cls, home: Home, few: int) -> Steps:
        """Register `few` versions of a model of its own, copies of the job's last round."""
        from tasks.jobs.journal import Journal
        from tasks.tracking import registry
        from tasks.tracking.run_tracker import open_run

        client = registry.client(home)
        newest = registry.newest_evaluated(client, MODEL)
        record = registry.load_record(client, MODEL, newest or 1)
        model = registry.load_version(client, MODEL, newest or 1).model_bytes
        tracker = open_run(home, "bench", "many", "many", None, {})
        journal = Journal(home.jobs / record.job_id)
        tracker.log_opening(journal.opening.config, home.root / "partition" / "items.parquet")
        steps = cls(home, client, tracker, replace(record, job_id="many", round=0), model)
        for _ in range(few):
            steps.register()
        return steps

    def calls(self) -> dict[str, Callable[[], object]]:
        """Return the steps by name."""
        from tasks.bundles.serving_folder import serving_folder
        from tasks.publishing.follow_registry import Follower

        folder = serving_folder(self.home, "many")
        folder.mkdir(parents=True, exist_ok=True)
        follower = Follower(self.home, "many", folder, print, None, None, None)
        calls: dict[str, Callable[[], object]] = {"promote": self.promote, "register a round": self.register}
        return calls | {"publish --watch, a look": follower.look}

    def register(self) -> None:
        """Log one more round with its evaluation, and register it."""
        self.record = replace(self.record, round=self.record.round + 1)
        self.tracker.log_round(self.record, self.model, {"drift": 0.5}, resumed=False)

    def promote(self) -> None:
        """Run the flow of a promotion, of version 1 and version 2 in turn."""
        from flows.promote import promotion
        from tasks.tracking import registry

        champion = registry.version_of_alias(self.client, "many", "champion")
        outcome = promotion(model_name="many", version=2 if champion == 1 else 1)
        if not outcome["promoted"]:
            raise SystemExit(f"Refused: {outcome['verdicts']}")


def copy_newest(home: Home, count: int) -> None:
    """Add copies of the newest version of the model "many", of later rounds, by SQL."""
    database = sqlite3.connect(home.mlflow / "mlflow.db")
    with contextlib.closing(database), database:
        (newest,) = database.execute("SELECT max(version) FROM model_versions WHERE name = 'many'").fetchone()
        for table in ("model_versions", "model_version_tags"):
            found = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            names = ", ".join(name for name in found if name != "version")
            rows = f"name = 'many' AND version = {newest}"
            copied = f"SELECT {newest} + i, {names} FROM {table}, n WHERE {rows}"  # noqa: S608  # our own names
            numbers = f"n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"  # noqa: S608
            database.execute(f"WITH RECURSIVE {numbers} INSERT INTO {table} (version, {names}) {copied}")


def remove_after(home: Home, last: int) -> None:
    """Remove the later versions of the model "many" by SQL, as if they had never been."""
    database = sqlite3.connect(home.mlflow / "mlflow.db")
    with contextlib.closing(database), database:
        for table in ("model_version_tags", "model_versions"):
            database.execute(
                f"DELETE FROM {table} WHERE name = 'many' AND version > ?",  # noqa: S608  # our own names
                (last,),
            )


@contextlib.contextmanager
def mlflow_server(home: Home) -> Iterator[None]:
    """Run MLflow's server on the home's database while the block runs. The environment names it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"]]
    command += ["--artifacts-destination", str(home.mlflow / "artifacts")]
    home.mlflow.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    with (home.root / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not answers(f"{url}/health"):
            if time.monotonic() > deadline or server.poll() is not None:
                raise SystemExit((home.root / "server.log").read_text())
            time.sleep(0.5)
        os.environ |= {"MLFLOW_TRACKING_URI": url, "MLFLOW_REGISTRY_URI": url}
        yield
    finally:
        server.terminate()
        server.wait(60)


def answers(url: str) -> bool:
    """Return whether an HTTP server answers."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # our own server
            return True
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
