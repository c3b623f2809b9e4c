"""Measures fold-in: users that a model was not trained on, compared with users that it was trained on.

The users of MovieLens-100K are split into five parts. For each part a model is trained without any
interaction of these users, and folds each of them in from the history that training would have used. Their
NDCG@10 is compared, on the same held-out cases, with that of their trained embeddings in a model of all
users. Both LightFM on pooled data and LightFM federated over the partition's clients are measured.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import yaml

from models.evaluation.ranking import held_out_ranks, ndcg, product_scores
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items, initial_users, train_alone, train_round
from models.recommenders.scoring.fold_in import ItemSide, fold_in
from tasks.clients.silo_data import SiloData, load_silo
from tasks.datasets.partition_reader import open_partition

CONFIG = Path(__file__).parents[1] / "configs" / "ml-100k.yaml"
PARTS = 5
Train = Callable[["World", np.ndarray, int], tuple[ItemArrays, np.ndarray]]


@dataclass(frozen=True)
class World:
    """All clients' users with one numbering.

    Attributes:
        silos: the clients' data.
        first: (clients + 1,) row of each client's first user.
        users, items: the training interactions, sorted by user.
        cases: name -> (users, items) of the held-out cases.
        spec, epochs: settings of the training.
    """

    silos: list[SiloData]
    first: np.ndarray
    users: np.ndarray
    items: np.ndarray
    cases: dict[str, tuple[np.ndarray, np.ndarray]]
    spec: LightFMSpec
    epochs: int

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self.first[-1])

    @property
    def n_items(self) -> int:
        """Number of items."""
        return self.silos[0].training.shape[1]


def main() -> None:
    """Print a table, or one JSON object with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--cases", choices=["test", "validation"], default="test")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    arguments = parser.parse_args()
    world = load()
    report = {
        "seeds": arguments.seeds,
        "cases": arguments.cases,
        **{
            name: compare(world, train, arguments.seeds, arguments.cases)
            for name, train in (("pooled", pooled), ("federated", federated))
        },
    }
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    for name in ("pooled", "federated"):
        found = report[name]
        print(
            f"{name:10} NDCG@10 trained {found['trained']:.4f}  folded in {found['folded_in']:.4f}  "
            f"ratio {found['ratio']:.3f} +- {found['standard_error']:.3f}"
        )


def load() -> World:
    """Return the partition that configs/ml-100k.yaml names, with that file's settings of training."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    home = os.environ.get("FEDREC_HOME", str(CONFIG.parents[1] / ".fedrec"))
    partition = open_partition(config["data"]["dir"].replace("$FEDREC_HOME", home))
    evaluation = config["evaluation"]
    silos = [
        load_silo(
            str(partition.root), partition.digest, client.id, evaluation["seed"], evaluation["negatives"]
        )
        for client in partition.clients
    ]
    first = np.cumsum([0, *(len(silo.user_ids) for silo in silos)])

    def joined(part: str) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.concatenate(
                [getattr(silo.split, f"{part}_users") + row for silo, row in zip(silos, first, strict=False)]
            ),
            np.concatenate([getattr(silo.split, f"{part}_items") for silo in silos]),
        )

    return World(
        silos=silos,
        first=first,
        users=joined("train")[0],
        items=joined("train")[1],
        cases={name: joined(name) for name in ("validation", "test")},
        spec=LightFMSpec(**config["train"]),
        epochs=config["federation"]["rounds"],
    )


def compare(world: World, train: Train, seeds: list[int], cases: str) -> dict[str, float]:
    """Return the mean NDCG@10 of trained and of folded-in users, their ratio, and its standard error."""
    case_users = world.cases[cases][0]
    trained, folded = np.zeros((len(seeds), len(case_users))), np.zeros((len(seeds), len(case_users)))
    no_users = np.zeros(world.n_users, dtype=bool)
    for place, seed in enumerate(seeds):
        items, users = train(world, no_users, seed)
        trained[place] = quality(world, cases, items, users)
        part_of = np.random.default_rng(seed).permutation(world.n_users) % PARTS
        for part in range(PARTS):
            items, _ = train(world, part_of == part, seed)
            theirs = part_of[case_users] == part
            folded[place, theirs] = quality(world, cases, items, all_folded_in(world, items))[theirs]
    differences = (folded - trained).mean(axis=0)
    return {
        "trained": float(trained.mean()),
        "folded_in": float(folded.mean()),
        "ratio": float(folded.mean() / trained.mean()),
        "standard_error": float(differences.std() / np.sqrt(len(differences)) / trained.mean()),
    }


def quality(world: World, cases: str, items: ItemArrays, users: np.ndarray) -> np.ndarray:
    """Return (cases,) NDCG@10 among all items outside a user's training history."""
    case_users, case_items = world.cases[cases]
    ranks = held_out_ranks(
        product_scores(users, items.embeddings, items.biases),
        len(items.biases),
        case_users=case_users,
        case_items=case_items,
        train_users=world.users,
        train_items=world.items,
        negatives=np.zeros((len(case_users), 1), dtype=np.int32),
    )
    return ndcg(ranks.full, 10)


def all_folded_in(world: World, items: ItemArrays) -> np.ndarray:
    """Return (users, dims) with each user folded in from the history."""
    side = ItemSide.of(items.embeddings, items.biases)
    starts = np.searchsorted(world.users, np.arange(world.n_users + 1))
    vectors = [fold_in(world.items[start:end], side).vector for start, end in pairwise(starts)]
    return np.stack(vectors).astype(np.float32)


def pooled(world: World, left_out: np.ndarray, seed: int) -> tuple[ItemArrays, np.ndarray]:
    """Train LightFM on the pooled interactions of all users but those left out.

    Returns:
        The items, and (users, dims).
    """
    kept = ~left_out[world.users]
    data = TrainingSet(world.users[kept], world.items[kept], (world.n_users, world.n_items))
    items, users = train_alone(data, world.spec, epochs=world.epochs, seed=seed, client_id="all clients")
    return items, users.embeddings


def federated(world: World, left_out: np.ndarray, seed: int) -> tuple[ItemArrays, np.ndarray]:
    """Train LightFM federated over clients without the users left out; returns as `pooled` does."""
    data = {}
    for number, (silo, start) in enumerate(zip(world.silos, world.first, strict=False)):
        kept = ~left_out[silo.split.train_users + start]
        if kept.any():
            data[f"{number:03d}"] = TrainingSet(
                silo.split.train_users[kept], silo.split.train_items[kept], silo.training.shape
            )
    spec, rule = world.spec, merge_rule("adagrad_sum")
    users = {name: initial_users(each.shape[0], spec.dims, seed, name) for name, each in data.items()}
    model = GlobalModel(0, "", initial_items(world.n_items, spec.dims, seed))
    for round_ in range(1, world.epochs + 1):
        state = rule.empty(model)
        for name, each in data.items():
            items, users[name] = train_round(
                model.items, users[name], each, spec, seed=seed, round_=round_, client_id=name
            )
            contribution = rule.contribution(rule.prepare(model.items, items), len(each))
            update = ClientUpdate(name, model.round, "", "", rule.rounded(contribution))
            state = rule.add(state, model, update)
        model = rule.finish(state, model)
    vectors = np.zeros((world.n_users, spec.dims), dtype=np.float32)
    for name, own in users.items():
        start = world.first[int(name)]
        vectors[start : start + len(own.embeddings)] = own.embeddings
    return model.items, vectors


if __name__ == "__main__":
    main()
