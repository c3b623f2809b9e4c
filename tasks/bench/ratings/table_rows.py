"""Measures rating prediction: federated, centralised, each silo alone, and traditional methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.evaluation.rating_metrics import inside_interval
from models.kernel.metric import Metric
from models.recommenders.items.features import ItemFeatures
from models.recommenders.rating.bayesian_mf import BayesianMfSpec
from models.recommenders.rating.chain import Federation, run_chain
from tasks.bench.ratings.baselines import BASELINES, SLOW_BASELINES, user_mean
from tasks.bench.ratings.cases import RatingSilo, SplitSilo, pooled, read_silos
from tasks.bench.ratings.figures import Arm, RatingFigures
from tasks.datasets.partition_reader import open_partition, read_items

FAMILY = "bayesian_mf"
FEDERATED, CENTRALISED, SILO_ONLY = "federated", "centralised", "silo_only"
POOLED, USER = "pooled", "user"
SEEDS = (1, 2, 3)
# A quick run has a shorter chain, so its results are slightly worse.
QUICK = BayesianMfSpec(sweeps=80)

# Earlier reported results of this experiment, without a definition of accuracy or the names of the methods.
CLAIMED = {
    "source": "the project's source document: MovieLens-100K, 70/30, matrix factorisation",
    "traditional_cf": {"rmse": 0.95, "accuracy": 0.85},
    "federated": {"rmse": 0.89, "accuracy": 0.90},
}

Announce = Callable[[str], None]


@dataclass(frozen=True)
class ChainResult:
    """The result of a chain over some clients.

    Attributes:
        means, deviations: (cases,), of the predicted held-out ratings, client by client.
        rounds: number of requests to each client.
        bytes_up, bytes_down: bytes that one client sent and received in all rounds.
    """

    means: np.ndarray
    deviations: np.ndarray
    rounds: int
    bytes_up: int
    bytes_down: int


@dataclass
class Bench:
    """A running comparison of rating predictors.

    Attributes:
        silos: of the partition.
        content: (items, features) of the catalogue.
        by: the column by which users were grouped into silos.
        spec: settings of the model.
        announce: is called with a line of text when an arm is done.
        figures: the results so far.
        costs: of the federated arms, by kind of client.
        inside: share of held-out ratings inside their 90 % intervals, in the federation of silos.
    """

    silos: Sequence[RatingSilo]
    content: np.ndarray
    by: str
    spec: BayesianMfSpec
    announce: Announce
    figures: RatingFigures = field(default_factory=RatingFigures)
    costs: dict[str, dict[str, int]] = field(default_factory=dict)
    inside: Metric = field(default_factory=lambda: Metric(0.0, 0.0))

    def measure_baselines(self, seed: int, names: Sequence[str]) -> None:
        """Measure traditional methods on one split."""
        split = [silo.split(seed, validation=False) for silo in self.silos]
        data = pooled(split)
        for name in names:
            self._add(Arm(POOLED, name, CENTRALISED), split, seed, partial(BASELINES[name], data))
        # A client of one user can know no more without the others.
        self._add(Arm(USER, "user_mean", SILO_ONLY), split, seed, partial(user_mean, data))

    def measure_model(self, seed: int, *, users: bool) -> None:
        """Measure the model on one split: pooled, over silos, each silo alone and, if `users`, over users."""
        split = [silo.split(seed, validation=False) for silo in self.silos]
        self._add(
            Arm(POOLED, FAMILY, CENTRALISED), split, seed, lambda: self._chain([pooled(split)], seed).means
        )
        self._add(Arm(self.by, FAMILY, FEDERATED), split, seed, lambda: self._federated(split, split, seed))
        self._add(
            Arm(self.by, FAMILY, SILO_ONLY),
            split,
            seed,
            lambda: np.concatenate([self._chain([silo], seed).means for silo in split]),
        )
        if users:
            alone = [one.split(seed, validation=False) for silo in self.silos for one in silo.by_user()]
            self._add(Arm(USER, FAMILY, FEDERATED), split, seed, lambda: self._federated(alone, split, seed))

    def _federated(self, clients: Sequence[SplitSilo], split: Sequence[SplitSilo], seed: int) -> np.ndarray:
        result = self._chain(clients, seed)
        given = np.concatenate([silo.held_out.values for silo in split])
        of_silos = len(clients) == len(split)
        self.costs[self.by if of_silos else USER] = {
            "clients": len(clients),
            "rounds": result.rounds,
            "bytes_up_per_client": result.bytes_up,
            "bytes_down_per_client": result.bytes_down,
        }
        if of_silos:
            self.inside += inside_interval(result.means, result.deviations, given)
        return result.means

    def _chain(self, clients: Sequence[SplitSilo], seed: int) -> ChainResult:
        return chain(clients, self.content, self.spec, seed)

    def _add(
        self, arm: Arm, split: Sequence[SplitSilo], seed: int, predict: Callable[[], np.ndarray]
    ) -> None:
        started = time.perf_counter()
        rmse = self.figures.add(arm, split, predict())
        self.announce(
            f"split {seed}: {arm.family}, {arm.arm}, {arm.clients}: RMSE {rmse:.4f} "
            f"({time.perf_counter() - started:.0f} s)"
        )


def bench_ratings(
    data_dir: str | Path,
    *,
    quick: bool,
    baselines: bool,
    announce: Announce,
    spec: BayesianMfSpec | None = None,
) -> dict[str, Any]:
    """Measure all arms on all splits, and return what `fedrec bench ratings` prints.

    Args:
        data_dir: a partition with ratings.
        quick: one split, a shorter chain, and no clients of one user.
        baselines: whether traditional methods are measured too; they need Surprise.
        announce: is called with a line of text when an arm is done.
        spec: settings of the model, in place of the default ones.

    Raises:
        NotFound: the partition does not exist, or Surprise is not installed.
        InvalidInput: the partition has no ratings.
    """
    partition = open_partition(data_dir)
    bench = Bench(
        silos=read_silos(partition),
        content=ItemFeatures.of(read_items(partition)).matrix().toarray(),
        by=partition.by.rpartition(":")[2],
        spec=spec or (QUICK if quick else BayesianMfSpec()),
        announce=announce,
    )
    seeds = SEEDS[:1] if quick else SEEDS
    for seed in seeds:
        if baselines:
            bench.measure_baselines(
                seed, [name for name in BASELINES if not (quick and name in SLOW_BASELINES)]
            )
        bench.measure_model(seed, users=not quick)
    return {
        "rows": [asdict(row) for row in bench.figures.rows(partition.root.name)],
        "protocol": "random 70/30, every rating by itself; nothing chosen on its test part",
        "seeds": list(seeds),
        "spec": asdict(bench.spec),
        "inside_90": bench.inside.value,
        "costs": bench.costs,
        "claimed": CLAIMED,
    }


def chain(clients: Sequence[SplitSilo], content: np.ndarray, spec: BayesianMfSpec, seed: int) -> ChainResult:
    """Run a whole chain over these clients, and return their predictions of the held-out ratings."""
    # The names keep the given order, so that sums run in this order.
    chain_clients = {f"{place:06}": each.client(spec) for place, each in enumerate(clients)}
    federation = Federation(chain_clients)
    run_chain(federation, content, spec, seed)
    found = [client.predicted() for client in chain_clients.values()]
    return ChainResult(
        np.concatenate([each.means for each in found]),
        np.concatenate([each.deviations for each in found]),
        federation.rounds,
        federation.bytes_up,
        federation.bytes_down,
    )
