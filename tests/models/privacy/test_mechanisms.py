"""What Gaussian mechanisms cost, compared with the formula and with another accountant."""

from __future__ import annotations

import json
import math

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from models.errors import InvalidInput
from models.privacy.mechanisms import Mechanism, epsilon_of, multiplier_for

DELTA = 1e-5
# Each example searches an epsilon, which takes 10 ms.
few = settings(max_examples=30)
multipliers = st.floats(0.3, 100.0)
counts = st.integers(1, 50)
plain = st.builds(Mechanism, multipliers, st.just(1.0), counts)


def delta_of(multiplier: float, epsilon: float) -> float:
    """Return the delta of a Gaussian mechanism by Balle and Wang 2018, equation 6."""
    half = 1 / (2 * multiplier)
    return norm.cdf(half - epsilon * multiplier) - math.exp(epsilon) * norm.cdf(-half - epsilon * multiplier)


@few
@given(st.floats(0.5, 50.0))
def test_the_epsilon_of_one_mechanism_is_that_of_the_formula(multiplier):
    epsilon = epsilon_of([Mechanism(multiplier)], DELTA)
    assert delta_of(multiplier, epsilon) == pytest.approx(DELTA, rel=0.01)


@pytest.mark.parametrize("multiplier", [0.8, 3.7, 20.0])
def test_other_accountants_bound_the_epsilon_from_above(multiplier):
    events = SelfComposedDpEvent(GaussianDpEvent(multiplier), 7)
    found = epsilon_of([Mechanism(multiplier, count=7)], DELTA)
    tight, loose = (kind().compose(events).get_epsilon(DELTA) for kind in (PLDAccountant, RdpAccountant))
    assert found <= tight + 1e-9
    assert found == pytest.approx(tight, rel=0.01)
    assert tight < loose


def test_sampled_mechanisms_cost_less_and_the_moments_bound_them_from_above():
    found = epsilon_of([Mechanism(1.2, 0.02, 100), Mechanism(1.2, 0.02, 200)], DELTA)
    event = SelfComposedDpEvent(PoissonSampledDpEvent(0.02, GaussianDpEvent(1.2)), 300)
    assert 0.5 < found < RdpAccountant().compose(event).get_epsilon(DELTA)
    assert found < epsilon_of([Mechanism(1.2, count=300)], DELTA)


@few
@given(multipliers, counts, st.floats(1.0, 3.0), st.integers(0, 10), st.lists(plain, max_size=3))
def test_more_uses_or_less_noise_never_cost_less(multiplier, count, factor, more, others):
    less = epsilon_of([Mechanism(multiplier * factor, count=count), *others], DELTA)
    assert epsilon_of([Mechanism(multiplier, count=count + more), *others], DELTA) >= less * (1 - 1e-9)


@few
@given(st.lists(plain, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_mechanisms_changes_nothing(mechanisms, random):
    shuffled = random.sample(mechanisms, len(mechanisms))
    assert epsilon_of(shuffled, DELTA) == epsilon_of(mechanisms, DELTA)


def test_no_mechanism_costs_nothing():
    assert epsilon_of([], DELTA) == 0.0


@few
@given(st.floats(0.01, 20.0), st.sampled_from([1e-3, 1e-5, 1e-9]))
def test_the_multiplier_for_an_epsilon_costs_that_and_no_more(epsilon, delta):
    found = epsilon_of([Mechanism(multiplier_for(epsilon, delta))], delta)
    assert found <= epsilon
    assert found == pytest.approx(epsilon, rel=1e-4)


@few
@given(st.floats(0.1, 10.0), st.lists(plain, max_size=3))
def test_a_multiplier_takes_into_account_what_was_spent(epsilon, already):
    spent = epsilon_of(already, DELTA)
    if spent >= epsilon * (1 - 1e-6):
        with pytest.raises(InvalidInput, match="is spent"):
            multiplier_for(min(epsilon, spent), DELTA, already)
    else:
        found = epsilon_of([*already, Mechanism(multiplier_for(epsilon, DELTA, already))], DELTA)
        assert found <= epsilon
        assert found == pytest.approx(epsilon, rel=1e-4)


# Of nearly all that is left, the first guesses of the search are far too small.
@pytest.mark.parametrize("left", [0.002, 0.5])
def test_a_multiplier_takes_into_account_what_was_spent_with_sampling(left):
    already = [Mechanism(4.0, 0.05, 10), Mechanism(9.0)]
    spent = epsilon_of(already, DELTA)
    epsilon = spent + left
    found = epsilon_of([*already, Mechanism(multiplier_for(epsilon, DELTA, already))], DELTA)
    assert spent < found <= epsilon
    assert found == pytest.approx(epsilon, rel=5e-3)
    with pytest.raises(InvalidInput, match=r"Nothing is left of an epsilon of .*: .* is spent"):
        multiplier_for(spent, DELTA, already)


@few
@given(st.builds(Mechanism, multipliers, st.floats(0.001, 1.0), counts))
def test_a_mechanism_is_read_as_it_was_written(mechanism):
    assert Mechanism.of_json(json.loads(json.dumps(mechanism.to_json()))) == mechanism


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"multiplier": 1.0},
        {"multiplier": "1", "sampling": 1.0, "count": 1},
        {"multiplier": True, "sampling": 1.0, "count": 1},
        {"multiplier": 1.0, "sampling": 1.0, "count": 1.5},
        {"multiplier": 1.0, "sampling": 1.0, "count": 0},
        {"multiplier": 1.0, "sampling": 0.0, "count": 1},
        {"multiplier": -1.0, "sampling": 1.0, "count": 1},
        {"multiplier": 1.0, "sampling": 1.0, "count": 1, "more": 1},
    ],
)
def test_what_is_no_mechanism_is_refused(value):
    with pytest.raises(InvalidInput, match="mechanism"):
        Mechanism.of_json(value)


@pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
def test_a_delta_out_of_range_is_refused(delta):
    with pytest.raises(InvalidInput, match="Delta"):
        epsilon_of([], delta)
    with pytest.raises(InvalidInput, match="Delta"):
        multiplier_for(1.0, delta)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_epsilon_out_of_range_is_refused(epsilon):
    with pytest.raises(InvalidInput, match="Epsilon"):
        multiplier_for(epsilon, DELTA)
