"""What leaves a client of a job that promises privacy: sums with noise, and nothing without."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.errors import EgressRefused, InvalidConfig
from models.federation.contribution import Contribution
from models.federation.fixed_point import rounded
from models.kernel.metric import Metric
from models.kernel.ranges import Range
from models.privacy.noise_plan import NoisePlan
from models.recommenders.additive.ease import EaseStatistics
from models.recommenders.private.statistics import PopularitySums
from tasks.privacy.client_noise import noisy_contribution, noisy_figures

NOISE = NoisePlan(multiplier=2.0, summands=4, figures_share=0.2)
NAMES = ("hr@10", "ndcg@10")
SCOPE = ("job", "1")


def contribution(values: np.ndarray) -> Contribution:
    given = Contribution(PopularitySums(values.astype(np.float32)), 1.0, 17, {"users": Metric(5.0, 1.0)})
    return rounded(given, PopularitySums.RANGES)


def test_an_update_gets_its_share_of_the_noise_and_no_counts(tmp_path):
    values = np.zeros(20_000)
    found = noisy_contribution(contribution(values), {"popularity": 3.0}, NOISE, tmp_path, SCOPE)
    assert (found.interactions, dict(found.metrics)) == (0, {})
    expected = 3.0 * 2.0 / math.sqrt(0.8) / math.sqrt(4)
    assert found.arrays.popularity.std() == pytest.approx(expected, rel=0.03)
    again = noisy_contribution(contribution(values), {"popularity": 3.0}, NOISE, tmp_path, SCOPE)
    assert again.arrays.popularity.tobytes() == found.arrays.popularity.tobytes()
    other = noisy_contribution(contribution(values), {"popularity": 3.0}, NOISE, tmp_path, ("job", "2"))
    assert other.arrays.popularity.tobytes() != found.arrays.popularity.tobytes()


def test_a_client_refuses_a_family_that_bounds_no_user(tmp_path):
    zero = Contribution(EaseStatistics.zero(3))
    with pytest.raises(EgressRefused, match="nothing bounds a user's part"):
        noisy_contribution(rounded(zero, EaseStatistics.RANGES), None, NOISE, tmp_path, SCOPE)


def test_a_client_refuses_steps_that_are_coarser_than_its_users_parts(tmp_path):
    coarse = {"popularity": Range.symmetric(2.0**12, 23)}
    given = rounded(Contribution(PopularitySums(np.zeros(3, np.float32))), coarse)
    with pytest.raises(EgressRefused, match=r"'popularity' to steps of 0\.00097"):
        noisy_contribution(given, {"popularity": 3.0}, NOISE, tmp_path, SCOPE, PopularitySums.RANGES)
    same = contribution(np.zeros(3))
    assert noisy_contribution(same, {"popularity": 3.0}, NOISE, tmp_path, SCOPE, PopularitySums.RANGES)


def test_figures_have_the_noise_that_hides_one_case_in_two_evaluations(tmp_path):
    draws = [
        part
        for round_ in range(2000)
        for metric in noisy_figures({}, NAMES[:1], NOISE, tmp_path, ("job", str(round_))).values()
        for part in (metric.total, metric.weight)
    ]
    # One case changes a total and the weight by 1 each. Both evaluations have a fifth of 1/z² together.
    multiplier = 2.0 / math.sqrt(0.2)
    expected = multiplier * math.sqrt(2) * math.sqrt(2) / math.sqrt(NOISE.summands)
    assert np.std(draws) == pytest.approx(expected, rel=0.03)
    assert abs(np.mean(draws)) < 4 * expected / math.sqrt(len(draws))


def test_a_client_without_cases_tells_as_many_figures_as_others(tmp_path):
    none = noisy_figures({}, NAMES, NOISE, tmp_path, SCOPE)
    some = noisy_figures(
        {name: Metric(3.0, 5.0) for name in (*NAMES, "other")}, NAMES, NOISE, tmp_path, SCOPE
    )
    assert none.keys() == some.keys() == set(NAMES)


def test_without_a_share_nothing_is_evaluated(tmp_path):
    with pytest.raises(InvalidConfig, match="not evaluated"):
        noisy_figures({}, NAMES, NoisePlan(1.0, 3), tmp_path, SCOPE)
