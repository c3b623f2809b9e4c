"""Searches the settings that predict ratings best, on validation ratings of three splits' training parts.

Each setting is varied alone around the defaults of `BayesianMfSpec`. The baselines of `fedrec bench ratings`
have a small grid each. No test rating is used. Federated and pooled training give equal models, so the search
trains on pooled data.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.evaluation.rating_metrics import RMSE, RatingSums, rating_curves, rating_values
from models.recommenders.items.features import ItemFeatures
from models.recommenders.rating.bayesian_mf import BayesianMfSpec
from tasks.bench.ratings.baselines import Predictor, neighbours, surprise
from tasks.bench.ratings.cases import SplitSilo, pooled, read_silos
from tasks.bench.ratings.table_rows import SEEDS, chain
from tasks.datasets.partition_reader import open_partition, read_items

SPACE: dict[str, list[Any]] = {
    "noise_freedom": [5.0, 10.0, 20.0, 40.0, 80.0],
    "dims": [5, 10, 15],
    "directions": [20, 40, 80],
    "direction_rounds": [4, 8],
    "prior_scale": [0.03, 0.1, 0.3],
    "sweeps": [80, 160, 320],
}


def main() -> None:
    """Print one line of JSON for each setting: its mean validation RMSE and its seconds per split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="partition of interactions with ratings")
    parser.add_argument("--only", nargs="*", help="names of settings or baselines to try; default all")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="another starting point")
    arguments = parser.parse_args()
    partition = open_partition(arguments.data)
    splits = [
        (seed, pooled([silo.split(seed, validation=True) for silo in read_silos(partition)]))
        for seed in SEEDS
    ]
    content = ItemFeatures.of(read_items(partition)).matrix().toarray()
    start = replace(
        BayesianMfSpec(), **{name: json.loads(value) for name, value in (s.split("=") for s in arguments.set)}
    )

    def model(spec: BayesianMfSpec) -> Callable[[int, SplitSilo], np.ndarray]:
        return lambda seed, split: chain([split], content, spec, seed).means

    trials = itertools.chain(
        ((name, value, model(replace(start, **{name: value}))) for name, value in settings()),
        (("content", None, lambda seed, split: chain([split], content[:, :0], start, seed).means),),
        ((name, options, lambda _, split, p=p: p(split)) for name, options, p in baselines()),
    )
    for name, value, predict in trials:
        if arguments.only and name not in arguments.only:
            continue
        began = time.perf_counter()
        found = [rmse(split, predict(seed, split)) for seed, split in splits]
        seconds = (time.perf_counter() - began) / len(splits)
        line = {"setting": name, "value": value, "rmse": round(float(np.mean(found)), 4)}
        print(json.dumps(line | {"seconds": round(seconds, 1)}), flush=True)


def settings() -> Iterator[tuple[str, Any]]:
    """Return every value of every setting of the model."""
    return ((name, value) for name, values in SPACE.items() for value in values)


def baselines() -> Iterator[tuple[str, dict[str, Any], Predictor]]:
    """Yield every baseline that has settings, with each combination of them."""
    for of_users, k in itertools.product((True, False), (20, 40, 80)):
        yield "user_knn" if of_users else "item_knn", {"k": k}, neighbours(of_users, k)
    for factors, reg in itertools.product((10, 50), (0.05, 0.1)):
        options = {"n_factors": factors, "reg_all": reg}
        yield "biased_mf", options, surprise("SVD", random_state=0, n_epochs=40, **options)
    for reg in (0.02, 0.05):
        options = {"n_factors": 10, "reg_all": reg}
        yield "svd++", options, surprise("SVDpp", random_state=0, cache_ratings=True, **options)


def rmse(split: SplitSilo, predicted: np.ndarray) -> float:
    """Return the RMSE over all held-out ratings."""
    values = rating_values(predicted, split.held_out.values)
    once = np.ones((1, len(split.held_out)), dtype=np.int64)
    return float(rating_curves(RatingSums.of(values, split.held_out.users, once))[RMSE][0])


if __name__ == "__main__":
    main()
