"""The noise of a job is split by variance."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidConfig
from models.privacy.mechanisms import Mechanism, epsilon_of
from models.privacy.noise_plan import NoisePlan

multipliers = st.floats(0.1, 1e3)


@given(multipliers, st.integers(1, 1000), st.floats(0.001, 0.999))
def test_training_and_evaluations_together_cost_what_the_job_may(multiplier, summands, share):
    plan = NoisePlan(multiplier, summands, share)
    parts = [Mechanism(plan.training_multiplier), Mechanism(plan.figures_multiplier)]
    assert epsilon_of(parts, 1e-5) == pytest.approx(epsilon_of([Mechanism(multiplier)], 1e-5), rel=1e-6)


@given(multipliers, st.integers(1, 1000))
def test_without_a_share_of_the_evaluations_training_has_all(multiplier, summands):
    plan = NoisePlan(multiplier, summands)
    assert plan.training_multiplier == multiplier
    assert plan.figures_multiplier == math.inf
    with pytest.raises(InvalidConfig, match="is not evaluated"):
        plan.figures_deviation(1.0)


def test_the_least_number_of_clients_adds_the_whole_variance():
    plan = NoisePlan(multiplier=6.0, summands=15, figures_share=0.36)
    # 6 / sqrt(1 - 0.36) = 7.5, and 6 / 0.6 = 10.
    deviations = plan.client_deviations({"counts": 2.0, "weights": 0.5})
    assert {name: 15 * each**2 for name, each in deviations.items()} == pytest.approx(
        {"counts": 15.0**2, "weights": 3.75**2}
    )
    assert 15 * plan.figures_deviation(3.0) ** 2 == pytest.approx(30.0**2)


@pytest.mark.parametrize(
    "numbers", [(0.0, 3), (math.nan, 3), (math.inf, 3), (1.0, 0), (1.0, 3, 1.0), (1.0, 3, -0.1)]
)
def test_a_number_out_of_range_is_refused(numbers):
    with pytest.raises(InvalidConfig):
        NoisePlan(*numbers)
