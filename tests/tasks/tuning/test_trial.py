"""A trial measures what a job measures on the validation cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.evaluation.ranking import METRICS, Scores, product_scores, ranking_metrics
from models.federation.model import ItemModel
from models.kernel.metric import Metric, total
from models.recommenders.families.registry import history_scores
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.simulation import Simulation
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import train_alone
from tasks.clients.silo_data import SiloData
from tasks.datasets.partition_reader import open_partition
from tasks.pooling.pooled_data import PooledSilos
from tasks.tuning.trial import TrialSpec, objective, open_clients, trial_results


def scores(users: np.ndarray, items: ItemModel) -> Scores:
    return product_scores(users, items.vectors, items.item_biases)


def figures_after(simulation: Simulation, silos: dict[str, SiloData], *, rounds: int) -> dict[str, Metric]:
    """Return the validation metrics over all silos after more rounds of a simulation."""
    for _ in range(rounds):
        simulation.run_round()
    items = simulation.model.items
    return total(
        ranking_metrics(silo.ranks(scores(simulation.users[name].embeddings, items), "validation"))
        for name, silo in silos.items()
    )


@pytest.fixture
def trial(partition_dir: Path) -> TrialSpec:
    return TrialSpec(
        data_dir=str(partition_dir),
        data_digest=open_partition(partition_dir).digest,
        evaluation_seed=0,
        negatives=9,
        train=LightFMSpec(dims=4, merges_per_epoch=2),
        pooled=False,
        cohort_share=1.0,
        epochs=6,
        evaluations=3,
        seed=1,
    )


def test_a_federated_trial_measures_the_simulated_federation(trial: TrialSpec, partition_dir: Path) -> None:
    found = list(trial_results(trial))
    assert [(look.epochs, look.rounds) for look in found] == [(2, 4), (4, 8), (6, 12)]
    silos = open_clients(open_partition(partition_dir), 0, 9)
    simulation = Simulation(
        {name: silo.training for name, silo in silos.items()},
        trial.train,
        lambda _: merge_rule("adagrad_sum"),
        seed=1,
    )
    expected = figures_after(simulation, silos, rounds=12)
    assert found[-1].metrics == expected
    assert found[-1].update_bytes == simulation.update_bytes
    assert set(expected) == set(METRICS)


def test_a_pooled_trial_equals_plain_lightfm(trial: TrialSpec, partition_dir: Path) -> None:
    found = list(trial_results(replace(trial, pooled=True)))
    assert [(look.epochs, look.rounds, look.update_bytes) for look in found] == [
        (2, 0, 0),
        (4, 0, 0),
        (6, 0, 0),
    ]
    silos = list(open_clients(open_partition(partition_dir), 0, 9).values())
    items, users = train_alone(
        PooledSilos.of(silos).training, trial.train, epochs=6, seed=1, client_id="all clients"
    )
    first, parts = 0, []
    for silo in silos:
        parts.append(
            ranking_metrics(
                silo.ranks(scores(users.embeddings[first : first + len(silo.user_ids)], items), "validation")
            )
        )
        first += len(silo.user_ids)
    assert found[-1].metrics == total(parts)


@pytest.mark.parametrize("pooled", [False, True])
def test_users_are_folded_in_if_the_trial_says_so(
    trial: TrialSpec, partition_dir: Path, pooled: bool
) -> None:
    folding = replace(trial, pooled=pooled, train=replace(trial.train, user_vectors="folded_in"))
    silos = open_clients(open_partition(partition_dir), 0, 9)
    if not pooled:
        training = {name: silo.training for name, silo in silos.items()}
        simulation = Simulation(training, trial.train, lambda _: merge_rule("adagrad_sum"), seed=1)
        for _ in range(12):
            simulation.run_round()
        items = simulation.model.items
    else:
        data = PooledSilos.of(list(silos.values())).training
        items, _ = train_alone(data, trial.train, epochs=6, seed=1, client_id="all clients")
    expected = total(
        ranking_metrics(silo.ranks(history_scores(items, silo.histories), "validation"))
        for silo in silos.values()
    )
    assert list(trial_results(folding))[-1].metrics == expected


def test_rates_fall_over_the_epochs_of_a_trial(trial: TrialSpec, partition_dir: Path) -> None:
    cooling = replace(trial, train=replace(trial.train, cooldown_share=0.5))
    silos = open_clients(open_partition(partition_dir), 0, 9)
    simulation = Simulation(
        {name: silo.training for name, silo in silos.items()},
        trial.train,
        lambda round_: merge_rule("adagrad_sum", min(1.0, (13 - round_) / 6)),
        seed=1,
    )
    expected = figures_after(simulation, silos, rounds=12)
    assert list(trial_results(cooling))[-1].metrics == expected


def test_only_a_trial_of_the_test_split_looks_at_test_cases(trial: TrialSpec) -> None:
    chosen, reported = (
        list(trial_results(replace(trial, split=name)))[-1] for name in ("validation", "test")
    )
    assert chosen.metrics["loo_ndcg@10"].weight == reported.metrics["loo_ndcg@10"].weight == 24
    assert chosen.metrics != reported.metrics


def test_rounds_count_visits_of_a_client(trial: TrialSpec) -> None:
    # Half an epoch a round, of a quarter of the clients.
    assert replace(trial, cohort_share=0.25).rounds_after(10) == 80
    assert replace(trial, train=replace(trial.train, local_epochs=4)).rounds_after(10) == 5


def test_the_objective_is_a_geometric_mean() -> None:
    assert objective({"a": 0.25, "b": 1.0, "c": 0.0}, ["a", "b"]) == pytest.approx(0.5)
    assert objective({"a": 0.25, "c": 0.0}, ["a", "c"]) == 0.0
