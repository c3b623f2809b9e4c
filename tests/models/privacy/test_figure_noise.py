"""The noise in figures, by hand arithmetic and beside draws of numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.errors import InvalidConfig
from models.kernel.metric import Metric
from models.privacy.figure_noise import figures_deviation, noise_margin
from models.privacy.noise_plan import NoisePlan

# A quarter of 1/z^2 is for the evaluations, which are together of multiplier 2.
NOISE = NoisePlan(multiplier=1.0, summands=4, figures_share=0.25)


def test_a_user_changes_a_total_of_each_metric_and_their_weight_in_two_evaluations() -> None:
    # Three metrics: sqrt(3 + 1) = 2; two evaluations: sqrt(2); four clients: a quarter of the variance each.
    assert figures_deviation(NOISE, 3) == pytest.approx(2.0 * 2.0 * math.sqrt(2.0) / 2.0, rel=1e-4)


def test_the_margin_is_that_of_a_ratio_of_two_noisy_sums() -> None:
    metric = Metric(600.0, 2000.0)
    deviation = figures_deviation(NOISE, 2) * math.sqrt(NOISE.summands)
    draws = np.random.default_rng(1).normal(0.0, deviation, (2, 100_000))
    means = (metric.total + draws[0]) / (metric.weight + draws[1])
    margin = noise_margin(metric, NOISE, 2)
    assert margin == pytest.approx(1.96 * np.std(means), rel=0.02)
    assert np.mean(abs(means - metric.value) < margin) == pytest.approx(0.95, abs=0.01)


def test_more_clients_than_the_fewest_add_more_noise() -> None:
    metric = Metric(600.0, 2000.0)
    # Nine shares of a quarter of the variance.
    assert noise_margin(metric, NOISE, 2, 9) == pytest.approx(1.5 * noise_margin(metric, NOISE, 2))
    assert noise_margin(metric, NOISE, 2, 3) == noise_margin(metric, NOISE, 2)


def test_without_a_share_there_is_no_margin() -> None:
    with pytest.raises(InvalidConfig, match="not evaluated"):
        noise_margin(Metric(1.0, 2.0), NoisePlan(1.0, 3), 2)
