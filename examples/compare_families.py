"""Train several families over the same silos, and compare them.

    python examples/compare_families.py [PARTITION] [--rounds N]

PARTITION is a folder that `fedrec data partition` made; `make data` makes the default. Each family runs as a
whole job: contracts, journal, MLflow and registry included, so `make ui` shows the same jobs afterwards.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flows import parse_config, train_locally
from tasks import JobResult, current_home

METRICS = ("loo_hr@10", "loo_ndcg@10", "ndcg@10")


def train(partition: Path, family: str, rounds: int) -> JobResult:
    """Train one family and return what came of the job."""
    config = parse_config(
        {
            "name": f"compare-{family.replace('_', '-')}",
            "model_name": f"compare-{family}",
            "data": {"dir": str(partition)},
            "train": {"family": family},
            "federation": {"rounds": rounds},
            "evaluation": {"silo_only": True},
        },
        "The example's configuration",
    )
    return train_locally(config)


def main() -> None:
    """Read the arguments, train, and print one line per family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("partition", nargs="?", type=Path, default=current_home().data / "ml-100k")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of LightFM")
    arguments = parser.parse_args()
    # EASE is solved from one sum over all users, so it needs a single round.
    results = {
        family: train(arguments.partition, family, rounds)
        for family, rounds in (("lightfm", arguments.rounds), ("ease", 1))
    }
    print(f"{'family':10} {'arm':10} " + " ".join(f"{name:>12}" for name in METRICS))
    for family, result in results.items():
        for arm in ("federated", "silo_only"):
            metrics = getattr(result.final, arm)
            print(f"{family:10} {arm:10} " + " ".join(f"{metrics[name]:12.4f}" for name in METRICS))


if __name__ == "__main__":
    main()
