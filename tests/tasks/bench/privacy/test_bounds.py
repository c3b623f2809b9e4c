"""Lower bounds on epsilon: by hand where that is easy, and against mechanisms whose epsilon is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from models.privacy.mechanisms import Mechanism, epsilon_of
from tasks.bench.privacy.bounds import (
    bound_from_one_run,
    bounds_from_runs,
    largest_from_runs,
    one_run_epsilon,
)

DELTA = 1e-5
REPEATS = 40
# Of 40 bounds that hold with 95 % each, more than 6 are wrong with a probability below 1 %.
MOST_WRONG = 6


def randomised_response(random, epsilon, runs):
    """Return answers that are true with the probability that this epsilon allows."""
    lies = random.random((2, runs)) > 1.0 / (1.0 + math.exp(-epsilon))
    return np.where(lies[0], 0.0, 1.0), np.where(lies[1], 1.0, 0.0)


def test_an_attacker_that_is_never_wrong_shows_what_the_number_of_runs_allows():
    # Of 200 runs each, 100 are tested. A one-sided interval of 97.5 % is the end of a two-sided one of 95 %.
    least = binomtest(100, 100).proportion_ci(0.95, "exact").low
    most = binomtest(0, 100).proportion_ci(0.95, "exact").high
    found = largest_from_runs(200, DELTA)
    assert found.plain == pytest.approx(math.log((least - DELTA) / most))
    signal = norm.ppf(least) - norm.ppf(most)
    assert found.gaussian == pytest.approx(epsilon_of([Mechanism(1.0 / signal)], DELTA))


def test_an_attacker_that_misses_most_but_is_never_wrong_about_presence_is_judged_by_that():
    present = np.tile([1.0, 0.0, 0.0, 0.0], 100)
    least = binomtest(50, 200).proportion_ci(0.95, "exact").low
    most = binomtest(0, 200).proportion_ci(0.95, "exact").high
    found = bounds_from_runs(present, np.zeros(400), DELTA)
    assert found.plain == pytest.approx(math.log((least - DELTA) / most))


def test_an_attacker_that_misses_nobody_but_raises_false_alarms_is_judged_by_absence():
    absent = np.tile([0.0, 1.0, 1.0, 1.0], 100)
    least = binomtest(200, 200).proportion_ci(0.95, "exact").low
    most = binomtest(150, 200).proportion_ci(0.95, "exact").high
    found = bounds_from_runs(np.ones(400), absent, DELTA)
    assert found.plain == pytest.approx(math.log((1.0 - most - DELTA) / (1.0 - least)))


def test_scores_that_say_nothing_or_the_opposite_show_nothing():
    assert bounds_from_runs(np.zeros(200), np.zeros(200), DELTA).plain == 0.0
    found = bounds_from_runs(np.zeros(200), np.ones(200), DELTA)
    assert (found.plain, found.gaussian) == (0.0, 0.0)


def test_thresholds_are_chosen_on_the_first_half_alone():
    # The first halves are apart at 0.5, the second ones at 10.5, which 0.5 does not tell apart.
    present = np.repeat([1.0, 11.0], 200)
    absent = np.repeat([0.0, 10.0], 200)
    assert bounds_from_runs(present, absent, DELTA).plain == 0.0


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_bounds_of_randomised_response_are_below_its_epsilon_and_near_it(epsilon):
    random = np.random.default_rng(1)
    found = [
        bounds_from_runs(*randomised_response(random, epsilon, 4000), DELTA).plain for _ in range(REPEATS)
    ]
    assert sum(bound > epsilon for bound in found) <= MOST_WRONG
    assert np.median(found) > epsilon - 0.25


@pytest.mark.parametrize("multiplier", [3.0, 0.8])
def test_bounds_of_gaussian_noise_are_below_its_epsilon_and_near_it(multiplier):
    random = np.random.default_rng(2)
    epsilon = epsilon_of([Mechanism(multiplier)], DELTA)
    found = [
        bounds_from_runs(1.0 / multiplier + random.normal(size=4000), random.normal(size=4000), DELTA)
        for _ in range(REPEATS)
    ]
    assert sum(bound.gaussian > epsilon for bound in found) <= MOST_WRONG
    assert sum(bound.plain > epsilon for bound in found) == 0
    assert np.median([bound.gaussian for bound in found]) > 0.4 * epsilon


@pytest.mark.parametrize("guesses", [50, 400])
def test_only_right_guesses_refute_the_epsilon_that_makes_them_unlikely(guesses):
    # Without delta they have the probability q^guesses, with q = 1 / (1 + exp(-epsilon)).
    wins = 0.05 ** (1.0 / guesses)
    found = one_run_epsilon(500, guesses, guesses, delta=0.0)
    assert found == pytest.approx(math.log(wins / (1.0 - wins)))


def test_guesses_as_good_as_chance_refute_nothing():
    assert one_run_epsilon(100, 100, 50, delta=0.0) == 0.0
    assert one_run_epsilon(100, 4, 4, delta=0.0) == 0.0  # 1/16 is more than 5 %


def test_delta_adds_what_the_theorem_says():
    # Five right guesses of five, epsilon 0: beta = 1/32. P[5 - i <= W < 5] / i for i = 1 to 5 is 5/32,
    # 15/64, 25/96, 30/128 and 31/160, so alpha = 25/96. It is refuted if beta + 2 m delta alpha < 0.05.
    limit = (0.05 - 1.0 / 32.0) / (2.0 * 5.0 * 25.0 / 96.0)
    assert one_run_epsilon(5, 5, 5, delta=0.999 * limit) > 0.0
    assert one_run_epsilon(5, 5, 5, delta=1.001 * limit) == 0.0


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_one_run_of_randomised_response_is_below_its_epsilon_and_near_it(epsilon):
    random = np.random.default_rng(3)
    answers = [randomised_response(random, epsilon, 300) for _ in range(REPEATS + 1)]
    # Ties are broken at random, as by scores of real attacks.
    scores = [tuple(each + 0.1 * random.random(300) for each in pair) for pair in answers]
    found = [bound_from_one_run(scores[0], each, delta=0.0) for each in scores[1:]]
    assert sum(bound > epsilon for bound in found) <= MOST_WRONG
    assert np.median(found) > 0.6 * epsilon
