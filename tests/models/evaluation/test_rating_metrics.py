"""Metrics of predicted ratings, by hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.rating_metrics import (
    RATING_METRICS,
    RatingSums,
    inside_interval,
    rating_curves,
    rating_metrics,
    rating_values,
)
from models.kernel.metric import Metric

# Against the ratings 5, 3, 2, 4: right but for the cut at 5; half a star up; 1.6 off; one star off exactly.
PREDICTED = np.array([5.7, 3.5, 3.6, 3.0])
GIVEN = np.array([5.0, 3.0, 2.0, 4.0])


def test_metrics_by_hand():
    found = {name: metric.total for name, metric in rating_metrics(rating_values(PREDICTED, GIVEN)).items()}
    # Rounded: 5, 4, 4, 3.
    assert found == {
        "rmse": pytest.approx(0.25 + 2.56 + 1.0),
        "mae": pytest.approx(0.5 + 1.6 + 1.0),
        "accuracy_exact": 1,
        "accuracy_within_1": 3,
        "accuracy_rounded_within_1": 3,
        "accuracy_like_at_3": 3,
        "accuracy_like_at_4": 1,
    }
    assert tuple(found) == RATING_METRICS


def test_sums_of_clients_give_the_curves_of_their_union():
    values, users = rating_values(PREDICTED, GIVEN), np.array([0, 1, 1, 2])
    weights = np.array([[1, 1, 1], [2, 0, 1], [0, 1, 3]])
    whole = RatingSums.of(values, users, weights)
    parts = RatingSums.of(values[:1], users[:1], weights[:, :1]) + RatingSums.of(
        values[1:], users[1:] - 1, weights[:, 1:]
    )
    curves = rating_curves(whole)
    for name, curve in rating_curves(parts).items():
        np.testing.assert_allclose(curve, curves[name])
    # Replicate 1 counts user 0 twice and user 2 once; replicate 2 user 1 once and user 2 thrice.
    np.testing.assert_allclose(
        curves["rmse"], np.sqrt([3.81 / 4, (0 * 2 + 1.0) / 3, (0.25 + 2.56 + 3 * 1.0) / 5])
    )
    np.testing.assert_allclose(curves["accuracy_exact"], [1 / 4, 2 / 3, 0])


def test_an_interval_covers_the_ratings_inside_it():
    deviations = np.array([0.1, 1.0, 0.5, 0.7])
    assert inside_interval(np.array([4.9, 3.5, 3.6, 3.0]), deviations, GIVEN) == Metric(3.0, 4.0)


def test_another_scale_is_mapped_to_five_stars_for_accuracies_and_kept_for_errors():
    stars = rating_values(np.array([3.6, 1.2]), np.array([5.0, 1.0]))
    # From 1 to 5 onto 0 to 10: two and a half points a star.
    points = rating_values(np.array([6.5, 0.5]), np.array([10.0, 0.0]), lowest=0.0, highest=10.0)
    np.testing.assert_allclose(points[:, 2:], stars[:, 2:])
    np.testing.assert_allclose(points[:, 1], [3.5, 0.5])
    np.testing.assert_allclose(points[:, 0], [12.25, 0.25])
