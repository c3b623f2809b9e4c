"""Measures the rounds of a real job over remote silos: polling, transfer, training and merging.

It starts a Prefect server and silos with their own workers on this machine, trains, and stops everything
again. The job itself logs these times; this program only shows them.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import yaml

from tasks.datasets.client_assignment import ByChance
from tasks.datasets.partition import make_partition
from tasks.local.environment import settings
from tasks.local.home import Home, current_home

RAW = current_home().root / "data" / "ml-100k-raw"
TIMEOUT_S = 180


def main() -> None:
    """Print a table, or one JSON object with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--silos", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=RAW, help="folder with interactions.csv and items.csv")
    parser.add_argument(
        "--database",
        help="Prefect's, such as postgresql+asyncpg://user:password@host/prefect; SQLite by default",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        federation = Federation(Path(folder), [f"silo-{n:02d}" for n in range(1, arguments.silos + 1)])
        federation.database = arguments.database
        federation.share_out(arguments.data)
        with federation.up():
            result = federation.train(arguments.rounds, arguments.overrides)
    rounds = [each["seconds"] for each in result["rounds"]]
    names = sorted({name for each in rounds for name in each})
    report = {
        "silos": arguments.silos,
        "rounds": rounds,
        "median": {name: round(median(each.get(name, 0.0) for each in rounds), 3) for name in names},
        "worst_total": round(max(each["total"] for each in rounds), 3),
        "timings": result["timings"],
    }
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    print("round  " + "  ".join(f"{name:>10}" for name in names))
    for number, each in enumerate(rounds, start=1):
        print(f"{number:>5}  " + "  ".join(f"{each.get(name, 0.0):>10.2f}" for name in names))
    print(f"{'median':>5} " + "  ".join(f"{report['median'][name]:>10.2f}" for name in names))


class Federation:
    """A coordinator and silos under one account, in one folder."""

    def __init__(self, root: Path, silos: list[str]) -> None:
        self.root, self.silos = root, silos
        self.database: str | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.api_url = f"http://127.0.0.1:{free.getsockname()[1]}/api"

    def home(self, party: str) -> Path:
        return self.root / party

    def share_out(self, data: Path) -> None:
        """Give each silo a part of the interactions and a key that the coordinator trusts."""
        parts = self.root / "parts"
        make_partition(
            data / "interactions.csv", parts, ByChance(len(self.silos), seed=0), items=data / "items.csv"
        )
        for silo in self.silos:
            source = self.home(silo) / "source"
            source.mkdir(parents=True)
            pd.read_parquet(parts / "clients" / silo / "interactions.parquet").to_parquet(
                source / "a.parquet"
            )
            silo_settings = {
                "name": silo,
                "prefect_api_url": self.api_url,
                "exchange": (self.root / "exchange").as_uri(),
                "source": {"folder": str(source)},
            }
            (self.home(silo) / "silo.yaml").write_text(yaml.safe_dump(silo_settings))
            self.run(silo, "silo", "enrol", "--name", silo)
            self.run("hub", "trust", silo, str(self.home(silo) / "keys" / "public.pem"))

    @contextmanager
    def up(self) -> Iterator[None]:
        """Run Prefect's server and all silos while the block runs."""
        port = self.api_url.rpartition(":")[2].partition("/")[0]
        running = [self.start("hub", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port)]
        try:
            until(lambda: answers(f"{self.api_url}/health"), "Prefect's server answers")
            nothing = self.root / "prefect.yaml"
            nothing.write_text(yaml.safe_dump({"name": "bench", "deployments": []}))
            self.run("hub", "deploy", "--file", str(nothing), "--api-url", self.api_url)
            running += [self.start(silo, "flows", "silo", "start", "--silo", silo) for silo in self.silos]
            yield
        finally:
            for process in reversed(running):
                process.terminate()
            for process in running:
                process.wait(60)

    def train(self, rounds: int, overrides: list[str]) -> dict[str, Any]:
        """Train over all silos, and return the job's result."""
        config = {
            "name": "bench",
            "model_name": "bench",
            "data": {"items": str(self.root / "parts" / "items.parquet")},
            "federation": {"rounds": rounds},
            "evaluation": {"silo_only": False},
            "runner": {
                "kind": "silos",
                "silos": self.silos,
                "exchange": (self.root / "exchange").as_uri(),
            },
        }
        file = self.root / "job.yaml"
        file.write_text(yaml.safe_dump(config))
        given = [part for each in overrides for part in ("--set", each)]
        return dict(json.loads(self.run("hub", "train", "--config", str(file), "--json", *given)))

    def run(self, party: str, *command: str) -> str:
        """Run a command of fedrec, and return its output."""
        done = subprocess.run(
            [sys.executable, "-m", "flows", *command],
            env=self.environment(party),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def start(self, party: str, module: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.root / f"{party}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *command],
                env=self.environment(party),
                stdout=log,
                stderr=log,
            )

    def environment(self, party: str) -> Mapping[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))
        }
        if party == "hub":
            kept |= settings(Home(self.home(party))) | {"PREFECT_API_URL": self.api_url}
            kept |= {"PREFECT_API_DATABASE_CONNECTION_URL": self.database} if self.database else {}
        return kept | {"FEDREC_HOME": str(self.home(party))}


def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {TIMEOUT_S} s: {what}")
        time.sleep(0.5)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310
            return bool(response.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
