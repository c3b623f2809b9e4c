"""Measures the memory of the families whose models grow with the square of the items.

For each family, `fedrec train` runs on few items and on many. The difference of the peaks, over that of the
squares, is what a job takes for each pair of items, with one client at once and with several. The families'
`client_pair_bytes` and `merge_pair_bytes` come from here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from tasks.bench.overhead.cases import Case, Synthetic, tables_of
from tasks.bench.overhead.processes import peak_of
from tasks.datasets.client_assignment import ByChance
from tasks.datasets.partition import make_partition

_CLIENTS, _USERS, _LIKED = 4, 400, 40


def main() -> None:
    """Print a row of a markdown table for each family and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="+", default=["ease", "next_item", "blend"])
    parser.add_argument("--items", type=int, nargs=2, default=[500, 4000])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, _CLIENTS])
    arguments = parser.parse_args()
    print("| family | clients at once | peak MB, few items | peak MB, many items | bytes a pair |")
    print("|---|---:|---:|---:|---:|")
    few, many = arguments.items
    for family in arguments.families:
        for threads in arguments.threads:
            peaks = [peak_bytes(family, items, threads) for items in (few, many)]
            pair = (peaks[1] - peaks[0]) / (many**2 - few**2)
            sizes = " | ".join(f"{peak / 1e6:,.0f}" for peak in peaks)
            print(f"| {family} | {threads} | {sizes} | {pair:.0f} |", flush=True)


def peak_bytes(family: str, items: int, threads: int) -> int:
    """Return the peak of the resident memory of `fedrec train` in a fresh home."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        case = Case("", 1, ByChance(_CLIENTS), Synthetic(_USERS, items, _LIKED))
        tables = tables_of(case, Path(), folder / "tables")
        make_partition(tables.interactions, folder / "partition", case.split, items=tables.items)
        config = {
            "name": "pairs",
            "model_name": "pairs",
            "data": {"dir": str(folder / "partition")},
            "train": {"family": family},
            "federation": {"rounds": 1, "deadline_s": 3600},
            "evaluation": {"silo_only": False},
            "runner": {"threads": threads},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        foreign = ("FEDREC_", "MLFLOW_", "PREFECT_")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        with (
            subprocess.Popen(
                [sys.executable, "-m", "flows", "train", "--config", str(folder / "config.yaml"), "--json"],
                env=environ | {"FEDREC_HOME": str(folder / "home")},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process,
            peak_of(process.pid) as peak,
        ):
            out, err = process.communicate()
        if process.returncode:
            sys.exit(err.decode()[-2000:])
        json.loads(out)
        return peak[0]


if __name__ == "__main__":
    main()
