"""Metrics of shares and of lists by hand arithmetic. Clients' sums add up to those of their union."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.evaluation.bootstrap import replicate_weights
from models.evaluation.user_sums import SHARE_METRICS, UserSums, metric_curves, share_values, top_items
from models.kernel.histories import Histories


def test_two_users_by_hand():
    # User 3 has ranks 0, 2 and 30, user 5 only rank 12. User 4 has no held-out item.
    values, owners = share_values(np.array([30, 0, 2, 12]), np.array([3, 3, 3, 5]))
    assert owners.tolist() == [3, 5]
    ndcg, recall, precision = values[0]
    assert ndcg == pytest.approx((1 + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2))
    assert recall == pytest.approx(2 / 3)
    assert precision == pytest.approx((1 / 1 + 2 / 3 + 3 / 31) / 3)
    assert values[1].tolist() == pytest.approx([0.0, 1.0, 1 / 13])


def test_held_out_items_at_the_top_are_perfect_even_beyond_ten():
    values, _ = share_values(np.arange(15), np.zeros(15, dtype=int))
    assert values[0].tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_lists_leave_out_used_items_and_items_without_a_score():
    scores = np.array([[5.0, 4.0, np.nan, 3.0, 3.0], [0.0, 1.0, 2.0, 3.0, 4.0]])
    histories = Histories(np.array([0, 4, 3]), np.array([0, 1, 3]), 5)
    assert top_items(scores, histories, 3).tolist() == [[1, 3, 4], [2, 1, 0]]
    assert scores[0, 0] == 5.0  # the caller's scores are not changed


def test_coverage_popularity_and_gini_by_hand():
    top = np.array([[0, 1], [0, 2]])
    sums = UserSums.of(np.zeros((2, 3)), top, 4, np.ones((1, 2), dtype=int))
    curves = metric_curves(sums, SHARE_METRICS, np.array([0.8, 0.4, 0.2, 0.1]))
    assert curves["coverage@10"].tolist() == [3 / 4]
    assert curves["popularity@10"].tolist() == pytest.approx([(2 * 0.8 + 0.4 + 0.2) / 4])
    # Counts 0, 1, 1, 2 with mean 1: the sum of |a - b| over all ordered pairs, over 2 n² times the mean.
    assert curves["gini@10"].tolist() == pytest.approx([2 * (1 + 1 + 2 + 0 + 1 + 1) / (2 * 16 * 1)])


def test_evenly_spread_recommendations_have_a_gini_of_zero():
    sums = UserSums.of(np.zeros((2, 1)), np.array([[0, 1], [2, 3]]), 4, np.ones((1, 2), dtype=int))
    curves = metric_curves(sums, ("x",), np.zeros(4))
    assert (curves["gini@10"][0], curves["coverage@10"][0]) == (0.0, 1.0)


def test_sums_of_clients_are_the_sums_of_their_union_in_every_replicate():
    random = np.random.default_rng(2)
    values, top = random.random((9, 3)), np.array([random.permutation(20)[:10] for _ in range(9)])
    weights = replicate_weights(9, 1, "all", 5)
    parts = [
        UserSums.of(values[rows], top[rows], 20, weights[:, rows])
        for rows in (slice(0, 2), slice(2, 3), slice(3, 9))
    ]
    whole = UserSums.of(values, top, 20, weights)
    for (name, array), (_, added) in zip(
        whole.named(), (parts[0] + parts[1] + parts[2]).named(), strict=True
    ):
        np.testing.assert_allclose(array, added, err_msg=name)
    for replicate, weight in enumerate(weights):
        repeated = np.repeat(values, weight, axis=0)
        np.testing.assert_allclose(whole.totals[replicate], repeated.sum(axis=0))
        assert whole.users[replicate] == len(repeated)
