"""Measures the same job with one and with two processes of a cluster, one after the other.

The clients are synthetic, with one user each. All jobs must end with the same model, byte for byte.
Other work on the machine distorts the seconds, so compare the ratios of one run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from tasks.bench.overhead.cases import Case, Synthetic, tables_of
from tasks.datasets.client_assignment import ByUser
from tasks.datasets.partition import make_partition

DEADLINE_S = 3600


def main() -> None:
    """Print a table, or one JSON object with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=["dask", "ray"], default="dask")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", action="store_true", help="measure runner.kind threads, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    arguments = parser.parse_args()
    runners: list[dict[str, Any]] = [{"kind": "threads"}] if arguments.threads else []
    runners += [{"kind": arguments.kind, "processes": count} for count in arguments.processes]
    with tempfile.TemporaryDirectory() as folder:
        case = Case("", arguments.rounds, ByUser(), Synthetic(arguments.clients, arguments.items, 20))
        tables = tables_of(case, Path(), Path(folder) / "tables")
        partition = Path(folder) / "partition"
        make_partition(tables.interactions, partition, case.split, items=tables.items)
        rows = [
            row_of(runner, arguments.rounds, partition, Path(folder) / f"home-{number}")
            for number, runner in enumerate(runners)
        ]
    if len({row["model_sha256"] for row in rows}) != 1:
        sys.exit(f"The models differ: {rows}")
    if arguments.json:
        print(json.dumps({"rows": rows, "load": os.getloadavg()}))
        return
    print(
        "| runner | command s | steps s | round s | round, times the last row's |\n|---|---:|---:|---:|---:|"
    )
    for row in rows:
        seconds = f"{row['job_s']:.1f} | {row['steps_s']:.1f} | {row['round_s']:.2f}"
        print(f"| {row['runner']} | {seconds} | {row['round_s'] / rows[-1]['round_s']:.2f} |")


def row_of(runner: dict[str, Any], rounds: int, partition: Path, home: Path) -> dict[str, Any]:
    """Train in a fresh home, and return the seconds of the command, of all clients' steps and of a round."""
    home.mkdir()
    config = home / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "name": "cluster",
                "model_name": "cluster",
                "data": {"dir": str(partition)},
                "train": {"dims": 32},
                "federation": {"rounds": rounds, "deadline_s": DEADLINE_S},
                "evaluation": {"silo_only": False, "pooling_allowed": False},
                "runner": runner,
            }
        )
    )
    foreign = ("FEDREC_", "MLFLOW_", "PREFECT_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "flows", "train", "--config", str(config), "--json"],
        env=environ | {"FEDREC_HOME": str(home)},
        stdout=subprocess.PIPE,
        check=True,
    )
    job_s = time.perf_counter() - began
    result = json.loads(done.stdout)
    seconds = [each["seconds"] for each in result["rounds"]]
    return {
        "runner": " ".join(str(value) for value in runner.values()),
        "job_s": job_s,
        "steps_s": sum(each.get("fan_out", 0.0) + each.get("evaluate", 0.0) for each in seconds),
        "round_s": median(each["total"] for each in seconds),
        "model_sha256": result["model_sha256"],
    }


if __name__ == "__main__":
    main()
