"""Measures the main job: quality over several seeds, and wall time relative to a bare loop of its calls.

It runs `fedrec train` as a user would, once per seed, and then the same LightFM calls alone in one process.
Ratios are computed within one run, because machines differ and their timings vary.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

from models.federation.model import ClientUpdate, GlobalModel
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items, initial_users, train_round
from tasks.clients.silo_data import load_silo
from tasks.datasets.partition_reader import open_partition

CONFIG = Path(__file__).parents[1] / "configs" / "ml-100k.yaml"


def main() -> None:
    """Print a table, or one JSON object with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    results = [train(seed, arguments.overrides) for seed in arguments.seeds]
    loop_s = bare_loop(results[-1])
    report = {
        "seeds": arguments.seeds,
        "model_sha256": [result["model_sha256"] for result in results],
        "final": {side: means(results, side) for side in ("federated", "centralised", "silo_only")},
        "total_s": [result["timings"]["total_s"] for result in results],
        "bare_loop_s": round(loop_s, 2),
        "overhead_ratio": round(after_start_up(results[-1]) / loop_s, 2),
    }
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    show(report)


def train(seed: int, overrides: list[str]) -> dict[str, Any]:
    """Run `fedrec train` with this seed, and return its result."""
    command = [sys.executable, "-m", "flows", "train", "--config", str(CONFIG), "--json"]
    settings = [f"seed={seed}", *overrides]
    done = subprocess.run(
        [*command, *(part for each in settings for part in ("--set", each))],
        stdout=subprocess.PIPE,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def bare_loop(result: dict[str, Any]) -> float:
    """Return the seconds of the job's LightFM calls, made one after the other without anything else."""
    config = result["config"]
    spec, seed = LightFMSpec(**config["train"]), config["seed"]
    partition = open_partition(config["data"]["dir"])
    evaluation = config["evaluation"]
    silos = {
        client.id: load_silo(
            str(partition.root), partition.digest, client.id, evaluation["seed"], evaluation["negatives"]
        )
        for client in partition.clients
    }
    users = {name: initial_users(len(silo.user_ids), spec.dims, seed, name) for name, silo in silos.items()}
    family, rounds = LightFMFamily(spec), config["federation"]["rounds"]
    model = GlobalModel(0, partition.catalog.digest, initial_items(len(partition.catalog), spec.dims, seed))
    seconds = 0.0
    for round_ in range(1, rounds + 1):
        rule = family.rule((round_ - 1) / rounds)
        state = rule.empty(model)
        for name, silo in silos.items():
            before = time.perf_counter()
            items, users[name] = train_round(
                model.items, users[name], silo.training, spec, seed=seed, round_=round_, client_id=name
            )
            seconds += time.perf_counter() - before
            deltas = rule.prepare(model.items, items)
            contribution = rule.rounded(rule.contribution(deltas, len(silo.training)))
            update = ClientUpdate(name, model.round, "", model.catalog_digest, contribution)
            state = rule.add(state, model, update)
        model = rule.finish(state, model)
    return seconds


def means(results: list[dict[str, Any]], side: str) -> dict[str, float] | None:
    """Return the mean of each metric over the seeds, or None if a seed lacks this side."""
    found = [result["final"][side] for result in results]
    if not all(found):
        return None
    return {name: round(mean(each[name] for each in found), 5) for name in found[0]}


def after_start_up(result: dict[str, Any]) -> float:
    """Return the job's wall seconds without start-up and without its baselines."""
    timings = result["timings"]
    return float(timings["total_s"] - timings["startup_s"] - timings["baselines_s"])


def show(report: dict[str, Any]) -> None:
    """Print the report as text."""
    sides = report["final"]
    print(f"Mean of seeds {report['seeds']}")
    print(f"{'metric':12} {'federated':>10} {'centralised':>12} {'ratio':>7} {'silo only':>10} {'ratio':>7}")
    for name, value in sides["federated"].items():
        pooled, alone = sides["centralised"][name], sides["silo_only"][name]
        print(
            f"{name:12} {value:10.4f} {pooled:12.4f} {value / pooled:7.3f} {alone:10.4f} {value / alone:7.3f}"
        )
    print(f"wall seconds of each job: {', '.join(f'{each:.1f}' for each in report['total_s'])}")
    print(
        f"bare loop {report['bare_loop_s']:.2f} s; the last job after start-up took "
        f"{report['overhead_ratio']:.2f} times that"
    )


if __name__ == "__main__":
    main()
