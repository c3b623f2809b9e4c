"""Compares tuned LightFM, federated and pooled, on the test cases: the table of docs/tuning.md.

All arms are trained with the same seeds, none of which `fedrec tune` used. An interval is Student's 95 %
interval of the mean over the seeds. A ratio is the ratio of means, and its interval that of the seeds'
ratios. The ratio of pooled training with other seeds to pooled training shows how much of a ratio is chance.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student

from flows.settings.training_config import TrainingConfig, load_config
from models.evaluation.ranking import ranking_metrics
from models.kernel.metric import as_json, total, values
from models.recommenders.families.registry import family_of
from models.recommenders.lightfm.training import train_alone
from tasks.datasets.partition_reader import open_partition
from tasks.tuning.trial import TrialSpec, open_clients, trial_results

CONFIGS = Path(__file__).parents[1] / "configs"
SETS = {"occupation": "ml-100k-tuned.yaml", "user": "ml-100k-by-user.yaml"}


def main() -> None:
    """Print one JSON object with rows[], or a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", choices=[*SETS], nargs="+", default=[*SETS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    arguments = parser.parse_args()
    rows = [row for name in arguments.clients for row in measure(name, arguments.seeds, arguments.split)]
    if arguments.json:
        print(json.dumps({"seeds": arguments.seeds, "split": arguments.split, "rows": rows}, indent=1))
        return
    for row in rows:
        print(
            f"{row['clients']:5} {row['arm']:29} {row['metric']:12} "
            f"{row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
        )


def measure(name: str, seeds: list[int], split: str) -> list[dict[str, Any]]:
    """Return the rows of one way to make clients."""
    federated, pooled = load_config(CONFIGS / SETS[name]), load_config(CONFIGS / "ml-100k-centralised.yaml")
    partition = open_partition(str(federated.data.dir))
    arms: dict[str, list[dict[str, float]]] = {"federated": [], "centralised": [], "centralised again": []}
    if name == "occupation":
        arms["silo_only"] = []
    for seed in seeds:
        result = last_result(federated, federated, seed, split, pooled=False)
        cost = {"rounds": float(result.rounds), "update_megabytes": result.update_bytes / 1e6}
        arms["federated"].append(values(as_json(result.metrics)) | cost)
        for arm, other in (("centralised", seed), ("centralised again", seed + max(seeds))):
            result = last_result(pooled, federated, other, split, pooled=True)
            arms[arm].append(values(as_json(result.metrics)))
        if "silo_only" in arms:
            arms["silo_only"].append(alone(pooled, federated, seed, split))
        newest = {arm: {k: round(v, 4) for k, v in found[-1].items()} for arm, found in arms.items()}
        print(f"{name}: seed {seed}: {json.dumps(newest)}", file=sys.stderr, flush=True)
    facts = {"dataset": "ml-100k", "clients": len(partition.clients), "family": "lightfm"}
    rows = [
        facts | {"arm": arm, "metric": metric, **interval([each[metric] for each in found])}
        for arm, found in arms.items()
        for metric in found[0]
    ]
    for arm in ("federated", "centralised again"):
        for metric in arms["centralised"][0]:
            both = zip(arms[arm], arms["centralised"], strict=True)
            spread = interval([one[metric] / other[metric] for one, other in both])
            ratio = mean(r[metric] for r in arms[arm]) / mean(r[metric] for r in arms["centralised"])
            rows.append(facts | {"arm": f"{arm}/centralised", "metric": metric, **spread, "value": ratio})
    return rows


def last_result(
    settings: TrainingConfig, data: TrainingConfig, seed: int, split: str, *, pooled: bool
) -> Any:
    """Return the final result of a training with the settings of one configuration on the data of another."""
    federation, train = settings.federation, settings.train
    passes = train.epochs_of(federation.rounds) * federation.cohort_share * train.local_epochs
    trial = TrialSpec(
        data_dir=str(data.data.dir),
        data_digest=open_partition(str(data.data.dir)).digest,
        evaluation_seed=data.evaluation.seed,
        negatives=data.evaluation.negatives,
        train=train,
        pooled=pooled,
        cohort_share=federation.cohort_share,
        epochs=federation.rounds if pooled else round(passes),
        evaluations=1,
        seed=seed,
        split=split,
    )
    return list(trial_results(trial))[-1]


def alone(settings: TrainingConfig, data: TrainingConfig, seed: int, split: str) -> dict[str, float]:
    """Train LightFM for each client on its own data, with the best settings for pooled data."""
    evaluation = data.evaluation
    clients = open_clients(open_partition(str(data.data.dir)), evaluation.seed, evaluation.negatives)
    family, parts = family_of(settings.train), []
    for client_id, silo in clients.items():
        items, users = train_alone(
            silo.training, settings.train, epochs=settings.federation.rounds, seed=seed, client_id=client_id
        )
        parts.append(ranking_metrics(silo.ranks(family.scores(items, users, silo), split)))
    return values(as_json(total(parts)))


def interval(found: list[float]) -> dict[str, float]:
    """Return the mean and its 95 % interval; the interval of one value is that value."""
    middle, n = mean(found), len(found)
    half = float(student.ppf(0.975, n - 1)) * stdev(found) / n**0.5 if n > 1 else 0.0
    return {"value": middle, "low": middle - half, "high": middle + half}


if __name__ == "__main__":
    main()
