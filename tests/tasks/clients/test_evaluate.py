"""A client's evaluation agrees with ranking its held-out items one by one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.federation.model import GlobalModel, ItemArrays
from models.kernel.metric import Metric
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import train_alone
from models.recommenders.scoring.fold_in import ItemSide, fold_in
from tasks.clients.client_data import base_of, data_of
from tasks.clients.evaluate import compare_client, evaluate_client
from tasks.clients.train import train_client
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import encode_model
from tasks.messages.orders import ClientOrder, StartingPoint
from tests.worlds.jobs import job_of

SPEC = LightFMSpec(dims=4)


@pytest.fixture
def order(tmp_path: Path, partition_dir: Path) -> ClientOrder:
    """Return ash's order to evaluate a model of random items. Ash has trained in round 1."""
    partition = open_partition(partition_dir)
    job = job_of(partition_dir, tmp_path, spec=SPEC)
    random = np.random.default_rng(3)
    ones = np.ones(40, np.float32)
    items = ItemArrays(
        random.normal(size=(40, 4)).astype(np.float32),
        random.normal(size=40).astype(np.float32),
        ones,
        ones.copy(),
    )
    model = GlobalModel(0, partition.catalog.digest, items)
    ref = job.exchange.put("job-1/models", encode_model(model))
    train_client(ClientOrder(job, "ash", 1, ref, StartingPoint(None, 0)))
    return ClientOrder(job, "ash", 1, ref, StartingPoint("job-1", 1))


def one_by_one(order: ClientOrder, user_embeddings, items: ItemArrays, split_name: str) -> dict[str, list]:
    """Return HR@10, NDCG@10 and HR@20 over all but training items, and against sampled negatives."""
    data = data_of(order)
    found: dict[str, list] = {name: [] for name in ("hr@10", "ndcg@10", "hr@20", "loo_hr@10", "loo_ndcg@10")}
    users = getattr(data.split, f"{split_name}_users")
    targets = getattr(data.split, f"{split_name}_items")
    for user, target, negatives in zip(users, targets, getattr(data, f"{split_name}_negatives"), strict=True):
        scores = items.embeddings @ user_embeddings[user] + items.biases
        known = set(data.split.train_items[data.split.train_users == user])
        rank = sum(scores[item] > scores[target] for item in range(40) if item not in known)
        sampled = sum(scores[item] > scores[target] for item in negatives)
        found["hr@10"].append(float(rank < 10))
        found["hr@20"].append(float(rank < 20))
        found["ndcg@10"].append(1 / math.log2(rank + 2) if rank < 10 else 0.0)
        found["loo_hr@10"].append(float(sampled < 10))
        found["loo_ndcg@10"].append(1 / math.log2(sampled + 2) if sampled < 10 else 0.0)
    return found


def trained_users(order: ClientOrder):
    from tasks.clients.client_data import UserStates

    return UserStates(order.silo, "job-1").read(1)[0].embeddings


def assert_sums(metrics: dict[str, Metric], expected: dict[str, list]) -> None:
    for name, metric in metrics.items():
        cases = expected[name.replace("recall@20", "hr@20")]
        assert metric.weight == len(cases) == 8
        assert metric.total == pytest.approx(sum(cases)), name
    assert {"hr@10", "ndcg@10", "loo_hr@10", "loo_ndcg@10"} <= set(metrics)


def test_validation_cases_are_ranked_with_the_trained_users(order):
    found = evaluate_client(order)
    assert_sums(
        found.metrics,
        one_by_one(order, trained_users(order), base_of(order).items, "validation"),
    )
    assert (found.client_id, found.alone, found.benefit, found.choice) == ("ash", {}, {}, {})
    assert found.alone_s == 0.0
    assert found.started <= found.ended


@pytest.mark.parametrize(("start", "vectors"), [(StartingPoint(None, 0), "trained"), (None, "folded_in")])
def test_users_are_folded_in_if_they_never_trained_or_the_job_says_so(order, start, vectors):
    job = replace(order.job, spec=replace(order.job.spec, user_vectors=vectors))
    never = ClientOrder(job, "ash", 1, order.base, start or order.start)
    items, split = base_of(order).items, data_of(order).split
    users = np.stack(
        [
            fold_in(
                split.train_items[split.train_users == user].tolist(),
                ItemSide.of(items.embeddings, items.biases),
            ).vector
            for user in range(8)
        ]
    )
    assert_sums(evaluate_client(never).metrics, one_by_one(order, users, items, "validation"))


def test_the_comparison_uses_test_cases_and_pairs_them(order):
    found = compare_client(order, 3)
    federated = one_by_one(order, trained_users(order), base_of(order).items, "test")
    items, users = train_alone(data_of(order).training, SPEC, epochs=3, seed=7, client_id="ash")
    alone = one_by_one(order, users.embeddings, items, "test")
    assert_sums(found.metrics, federated)
    assert_sums(found.alone, alone)
    differences = [f - a for f, a in zip(federated["ndcg@10"], alone["ndcg@10"], strict=True)]
    assert found.benefit["benefit"].total == pytest.approx(sum(differences))
    assert found.benefit["benefit_squared"].total == pytest.approx(sum(d * d for d in differences))
    assert 0 < found.alone_s <= found.ended - found.started
    assert any(differences)


def test_validation_cases_decide_which_model_is_offered(order):
    found = compare_client(order, 3)
    federated = one_by_one(order, trained_users(order), base_of(order).items, "validation")
    items, users = train_alone(data_of(order).training, SPEC, epochs=3, seed=7, client_id="ash")
    alone = one_by_one(order, users.embeddings, items, "validation")
    differences = [f - a for f, a in zip(federated["ndcg@10"], alone["ndcg@10"], strict=True)]
    assert found.choice["benefit"].total == pytest.approx(sum(differences))
    assert found.choice["benefit_squared"].total == pytest.approx(sum(d * d for d in differences))
    assert found.choice != found.benefit


def test_without_epochs_there_is_no_comparison(order):
    found = compare_client(order, 0)
    assert (found.alone, found.benefit, found.choice) == ({}, {}, {})
    assert found.metrics == compare_client(order, 3).metrics
