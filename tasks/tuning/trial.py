"""One trial of a search: LightFM federated or on pooled data, evaluated on held-out cases as it trains."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from models.kernel.metric import Metric, total
from models.recommenders.base.data import Part
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.simulation import Simulation
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import PooledTraining
from tasks.clients.silo_data import SiloData, load_silo
from tasks.datasets.partition_reader import Partition, open_partition
from tasks.pooling.pooled_data import PooledSilos


@dataclass(frozen=True)
class TrialSpec:
    """The inputs that determine a trial.

    Attributes:
        data_dir, data_digest: the partition.
        evaluation_seed, negatives: of the sampled negatives.
        train: settings of LightFM.
        pooled: whether it trains on the pooled data, without a federation.
        cohort_share: share of the clients selected in each round of a federation.
        epochs: passes over the data.
        evaluations: number of evenly spaced evaluations on the held-out cases.
        seed: of the training.
        split: the held-out cases; "validation" for every choice.
        users_share: share of the users whose held-out cases are evaluated.
    """

    data_dir: str
    data_digest: str
    evaluation_seed: int
    negatives: int
    train: LightFMSpec
    pooled: bool
    cohort_share: float
    epochs: int
    evaluations: int
    seed: int
    split: Part = "validation"
    users_share: float = 1.0

    def rounds_after(self, epochs: float) -> int:
        """Return the number of rounds in which a client makes `epochs` passes over its data, on average."""
        passes_per_epoch = self.cohort_share * self.train.local_epochs
        return max(1, round(self.train.rounds_of(epochs / passes_per_epoch)))


@dataclass(frozen=True)
class TrialResult:
    """The result of one evaluation of a trial.

    Attributes:
        epochs: passes over the data so far.
        rounds: merges so far; 0 for pooled training.
        update_bytes: bytes that all clients have sent so far.
        metrics: sums over the held-out cases of all clients.
    """

    epochs: int
    rounds: int
    update_bytes: int
    metrics: dict[str, Metric]


def trial_results(trial: TrialSpec) -> Iterator[TrialResult]:
    """Train a trial and yield the result of each evaluation, so that a poor trial can be stopped early.

    Raises:
        FedrecError: the data are damaged, or the training diverged.
    """
    marks = _marks(trial.epochs, trial.evaluations)
    clients = _clients(
        trial.data_dir, trial.data_digest, trial.evaluation_seed, trial.negatives, trial.users_share
    )
    yield from (_pooled(trial, clients, marks) if trial.pooled else _federated(trial, clients, marks))


def objective(metrics: Mapping[str, float], names: Sequence[str]) -> float:
    """Return the geometric mean of these metrics; 0 if one of them is 0."""
    return math.prod(metrics[name] for name in names) ** (1.0 / len(names))


def open_clients(partition: Partition, evaluation_seed: int, negatives: int) -> dict[str, SiloData]:
    """Return the data of each client by its id, split for leave-one-out evaluation."""
    return _clients(str(partition.root), partition.digest, evaluation_seed, negatives)


# All trials of a study have the same clients, so caching one data set is enough.
@lru_cache(maxsize=1)
def _clients(
    data_dir: str, digest: str, seed: int, negatives: int, users_share: float = 1.0
) -> dict[str, SiloData]:
    return {
        client.id: load_silo(data_dir, digest, client.id, seed, negatives, users_share=users_share)
        for client in open_partition(data_dir).clients
    }


def _federated(
    trial: TrialSpec, clients: Mapping[str, SiloData], marks: Sequence[int]
) -> Iterator[TrialResult]:
    family = LightFMFamily(trial.train)
    rounds = trial.rounds_after(trial.epochs)
    simulation = Simulation(
        {client_id: silo.training for client_id, silo in clients.items()},
        trial.train,
        lambda round_: family.rule((round_ - 1) / rounds),
        seed=trial.seed,
        cohort_share=trial.cohort_share,
    )
    for mark in marks:
        while simulation.model.round < trial.rounds_after(mark):
            simulation.run_round()
        items, users = simulation.model.items, simulation.users
        metrics = total(
            family.judge(items, users[client_id], silo, trial.split).metrics
            for client_id, silo in clients.items()
        )
        yield TrialResult(mark, simulation.model.round, simulation.update_bytes, metrics)


def _pooled(trial: TrialSpec, clients: Mapping[str, SiloData], marks: Sequence[int]) -> Iterator[TrialResult]:
    data = PooledSilos.of(list(clients.values()))
    training = PooledTraining(data.training, trial.train, epochs=trial.epochs, seed=trial.seed)
    family, done = LightFMFamily(trial.train), 0
    for mark in marks:
        items, users = training.run(mark - done)
        done = mark
        metrics = data.judged(family, items, users, trial.split)
        yield TrialResult(mark, 0, 0, metrics)


def _marks(epochs: int, evaluations: int) -> list[int]:
    return sorted({max(1, round(epochs * (k + 1) / evaluations)) for k in range(evaluations)})
