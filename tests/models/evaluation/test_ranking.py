"""Ranks and metrics against hand arithmetic, and the laws that every ranking obeys."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.ranking import (
    METRICS,
    HeldOutRanks,
    held_out_ranks,
    hits,
    ndcg,
    product_scores,
    rank_of_target,
    ranking_metrics,
)
from models.kernel.metric import Metric

NONE = np.array([], dtype=np.int64)
# Two users, five items, one dimension: the score of user u and item i is their product plus a bias.
USERS = np.array([[1.0], [-1.0]], dtype=np.float32)
ITEMS = np.array([[5.0], [4.0], [3.0], [2.0], [1.0]], dtype=np.float32)
BIASES = np.array([0.0, 0.0, 0.0, 0.0, 3.5], dtype=np.float32)
# User 0: 5, 4, 3, 2, 4.5. User 1: -5, -4, -3, -2, 2.5.


def metrics_of(users, items, biases, **arrays):
    return ranking_metrics(held_out_ranks(product_scores(users, items, biases), len(biases), **arrays))


def evaluation(**changes):
    given_arrays = {
        "case_users": np.array([0, 1]),
        "case_items": np.array([2, 3]),
        "train_users": np.array([0, 0, 1]),
        "train_items": np.array([0, 3, 4]),
        "negatives": np.array([[1, 4], [0, -1]]),
    }
    return given_arrays | changes


def test_two_users_and_five_items_by_hand():
    ranks = held_out_ranks(product_scores(USERS, ITEMS, BIASES), len(BIASES), **evaluation())
    # User 0's target scores 3: items 1 (4) and 4 (4.5) rank above it. Item 0 (5) is masked as training.
    # User 1's target scores -2: only item 4 would rank above it, and that is masked.
    assert ranks.full.tolist() == [2, 0]
    assert ranks.sampled.tolist() == [2, 0]
    metrics = metrics_of(USERS, ITEMS, BIASES, **evaluation())
    assert tuple(metrics) == METRICS
    assert metrics["hr@10"] == metrics["recall@20"] == metrics["loo_hr@10"] == Metric(2.0, 2.0)
    # 1 / log2(2 + 2) + 1 / log2(0 + 2) = 0.5 + 1
    assert metrics["ndcg@10"] == metrics["loo_ndcg@10"] == Metric(1.5, 2.0)


def test_without_training_items_the_masked_ones_count():
    ranks = held_out_ranks(
        product_scores(USERS, ITEMS, BIASES), len(BIASES), **evaluation(train_users=NONE, train_items=NONE)
    )
    assert ranks.full.tolist() == [3, 1]


def test_a_tie_counts_against_the_model():
    scores = np.array([[1.0, 1.0, 1.0, 0.0, 2.0]])
    assert rank_of_target(scores, np.array([1]), NONE, NONE).tolist() == [3]
    assert rank_of_target(scores, np.array([1]), np.array([0]), np.array([2])).tolist() == [2]


@pytest.mark.parametrize(
    ("scores", "rank"),
    [
        ([0.0, 9.0, math.nan], 1),  # an item without a score ranks above the target
        ([0.0, math.nan, 1.0], 2),  # a target without a score ranks below all
        ([math.nan, math.nan, math.nan], 2),
        ([math.inf, math.inf, 0.0], 1),
        ([-math.inf, -math.inf, 0.0], 2),
    ],
)
def test_a_score_that_is_not_finite_counts_against_the_model(scores, rank):
    assert rank_of_target(np.array([scores]), np.array([1]), NONE, NONE).tolist() == [rank]


def test_a_diverged_model_ranks_last_and_does_not_warn(recwarn):
    broken = np.array([[math.inf], [math.nan]], dtype=np.float32)
    ranks = held_out_ranks(product_scores(broken, ITEMS * 0, BIASES), len(BIASES), **evaluation())
    assert ranks.full.tolist() == [2, 3]
    assert ranks.sampled.tolist() == [2, 1]
    assert not recwarn.list


def test_masking_a_pair_twice_or_the_target_itself_changes_nothing():
    scores = np.array([[3.0, 2.0, 1.0]])
    assert rank_of_target(scores, np.array([2]), np.array([0, 0]), np.array([1, 1])).tolist() == [1]
    assert rank_of_target(scores, np.array([2]), np.array([0]), np.array([2])).tolist() == [2]


def test_cutoffs_count_the_ranks_below_them():
    ranks = np.array([0, 1, 2, 6, 9, 10])
    assert hits(ranks, 10).tolist() == [1, 1, 1, 1, 1, 0]
    assert ndcg(ranks, 10).tolist() == pytest.approx(
        [1, 1 / math.log2(3), 1 / 2, 1 / 3, 1 / math.log2(11), 0]
    )


def test_each_metric_takes_its_own_ranking_and_cutoff():
    metrics = ranking_metrics(HeldOutRanks(full=np.array([14, 25, 0]), sampled=np.array([2, 10, 0])))
    assert metrics == {
        "hr@10": Metric(1.0, 3.0),
        "ndcg@10": Metric(1.0, 3.0),
        "recall@20": Metric(2.0, 3.0),
        "loo_hr@10": Metric(2.0, 3.0),
        "loo_ndcg@10": Metric(1.5, 3.0),
    }


def test_a_metric_of_no_cases_has_no_weight():
    nobody = evaluation(case_users=NONE, case_items=NONE, negatives=np.empty((0, 2), np.int32))
    assert set(metrics_of(USERS, ITEMS, BIASES, **nobody).values()) == {Metric(0.0, 0.0)}


@st.composite
def worlds(draw):
    """Return a client with a random model, some training pairs and one case for each user."""
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(4, 9))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    seen = random.random((n_users, n_items)) < 0.3
    target = random.integers(0, n_items, n_users)
    seen[np.arange(n_users), target] = False
    train_users, train_items = np.nonzero(seen)
    negatives = np.full((n_users, 3), -1)
    for user in range(n_users):
        free = [item for item in range(n_items) if not seen[user, item] and item != target[user]][:3]
        negatives[user, : len(free)] = free
    arrays = {
        "case_users": np.arange(n_users),
        "case_items": target,
        "train_users": train_users,
        "train_items": train_items,
        "negatives": negatives,
    }
    # Small whole numbers: ties are frequent and float32 sums are exact.
    user_embeddings = random.integers(-2, 3, (n_users, 2)).astype(np.float32)
    item_embeddings = random.integers(-2, 3, (n_items, 2)).astype(np.float32)
    return user_embeddings, item_embeddings, random.integers(-2, 3, n_items).astype(np.float32), arrays


@settings(deadline=None)
@given(worlds())
def test_ranks_are_those_of_a_plain_loop(world):
    users, items, biases, arrays = world
    ranks = held_out_ranks(product_scores(users, items, biases), len(biases), **arrays)
    trained = set(zip(arrays["train_users"].tolist(), arrays["train_items"].tolist(), strict=True))
    for user, target in enumerate(arrays["case_items"].tolist()):
        score = [float(users[user] @ items[item] + biases[item]) for item in range(len(items))]
        rivals = [item for item in range(len(items)) if item != target and (user, item) not in trained]
        assert ranks.full[user] == sum(score[item] >= score[target] for item in rivals)
        few = [item for item in arrays["negatives"][user].tolist() if item != -1]
        assert ranks.sampled[user] == sum(score[item] >= score[target] for item in few)


@settings(deadline=None)
@given(worlds())
def test_a_perfect_scorer_gets_one_and_a_constant_one_the_last_rank(world):
    users, items, _, arrays = world
    n_users, n_items = len(users), len(items)
    perfect = np.zeros((n_items, n_users), np.float32)
    perfect[arrays["case_items"], np.arange(n_users)] = 1
    best = metrics_of(np.eye(n_users, dtype=np.float32), perfect, np.zeros(n_items), **arrays)
    assert all(metric.value == 1 for metric in best.values())
    worst = held_out_ranks(product_scores(users * 0, items, np.zeros(n_items)), n_items, **arrays)
    assert (worst.full == n_items - 1 - np.bincount(arrays["train_users"], minlength=n_users)).all()
    assert (worst.sampled == (arrays["negatives"] != -1).sum(axis=1)).all()


@settings(deadline=None)
@given(worlds(), st.randoms(), st.integers(1, 4))
def test_the_order_and_the_number_of_users_at_a_time_are_irrelevant(world, order, at_once):
    users, items, biases, arrays = world
    shuffled = list(range(len(users)))
    order.shuffle(shuffled)
    moved = {name: arrays[name][shuffled] for name in ("case_users", "case_items", "negatives")}
    ranks = held_out_ranks(product_scores(users, items, biases), len(biases), **arrays)
    again = held_out_ranks(
        product_scores(users, items, biases), len(biases), **(arrays | moved), users_at_once=at_once
    )
    assert (again.full == ranks.full[shuffled]).all()
    assert (again.sampled == ranks.sampled[shuffled]).all()
