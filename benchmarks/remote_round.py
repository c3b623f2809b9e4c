"""Measures the rounds of a real job over remote silos: polling, transfer, training and merging.

It starts a Prefect server and silos with their own workers on this machine, trains, and stops everything
again. The job itself logs these times; this program only shows them. `fedrec bench gateway` compares them
with those of the gateway.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

from tasks.bench.gateway.federation import PrefectWorkers
from tasks.datasets.client_assignment import ByChance
from tasks.datasets.partition import make_partition
from tasks.local.home import current_home

RAW = current_home().root / "data" / "ml-100k-raw"


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
        parts, data = Path(folder) / "parts", arguments.data
        split = ByChance(arguments.silos, seed=0)
        make_partition(data / "interactions.csv", parts, split, items=data / "items.csv")
        silos = sorted(each.name for each in (parts / "clients").iterdir())
        federation = PrefectWorkers(Path(folder) / "federation", parts, silos, arguments.database)
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


if __name__ == "__main__":
    main()
