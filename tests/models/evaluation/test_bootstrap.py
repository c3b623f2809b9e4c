"""Intervals from replicates: as wide as theory says, and paired if models are compared."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.bootstrap import interval, ratio_interval, replicate_weights


def curve(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of one run in each replicate, (1, 1 + replicates)."""
    return ((weights @ values) / weights.sum(axis=1))[np.newaxis]


def test_replicate_0_is_the_data_and_the_rest_follow_from_seed_and_client():
    weights = replicate_weights(50, 3, "ash", 20)
    assert weights.shape == (21, 50)
    assert (weights[0] == 1).all()
    assert (weights == replicate_weights(50, 3, "ash", 20)).all()
    for other in (replicate_weights(50, 4, "ash", 20), replicate_weights(50, 3, "birch", 20)):
        assert (weights != other).any()


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(1).normal(2.0, 1.0, 400)
    found = interval(curve(values, replicate_weights(400, 1, "ash", 2000)))
    error = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(error, rel=0.1)
    assert found.value - found.low == pytest.approx(error, rel=0.1)


def test_runs_that_differ_widen_the_interval():
    steady = np.ones((1, 11))
    runs = np.concatenate([steady * value for value in (1.0, 2.0, 3.0)])
    found = interval(runs)
    # The sample variance of 1, 2 and 3 is 1, that of their mean a third.
    assert (found.value, found.high - found.value) == pytest.approx((2.0, 1.96 * (1 / 3) ** 0.5), rel=1e-4)


def test_a_ratio_of_paired_means_has_a_smaller_error_than_either():
    random = np.random.default_rng(5)
    values = random.gamma(1.0, 1.0, 300)
    weights = replicate_weights(300, 1, "ash", 300)
    better, base = curve(1.1 * values, weights), curve(values, weights)
    found = ratio_interval(better, base)
    assert (found.value, found.low, found.high) == pytest.approx((1.1, 1.1, 1.1))
    assert interval(base).high - interval(base).low > 0.1


def test_a_ratio_includes_the_errors_of_the_runs_on_both_sides():
    ones = np.ones((1, 11))
    runs, others = np.concatenate([ones, 3 * ones]), np.concatenate([3 * ones, 5 * ones])
    found = ratio_interval(runs, others)
    # Means 2 and 4; each mean of two runs has variance 2 / 2 = 1: 0.5² (1/4 + 1/16).
    assert found.value == 0.5
    assert found.high - 0.5 == pytest.approx(1.96 * 0.5 * (1 / 4 + 1 / 16) ** 0.5, rel=1e-4)
    assert ratio_interval(ones, ones).low == ratio_interval(ones, ones).high == 1.0
