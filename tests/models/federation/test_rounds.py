"""Plans of rounds and quorums."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput, QuorumNotReached
from models.federation.rounds import Rejection, RoundPlan, is_evaluated, plan_round, require_quorum
from models.recommenders.lightfm.spec import cooled_down

CLIENTS = st.lists(st.text("abcdef", min_size=1, max_size=6), min_size=1, max_size=40, unique=True)
SHARES = st.integers(1, 100).map(lambda percent: percent / 100)


def plan(round_: int = 1, *, clients=("a", "b", "c", "d"), cohort=1.0, quorum=0.5, seed=7) -> RoundPlan:
    return plan_round(round_, seed=seed, clients=clients, cohort_share=cohort, quorum_share=quorum)


@given(CLIENTS, SHARES, st.integers(1, 50), st.randoms(use_true_random=False))
def test_a_cohort_is_a_sample_that_depends_on_seed_and_round_alone(clients, share, round_, random):
    shuffled = random.sample(clients, len(clients))
    one = plan(round_, clients=clients, cohort=share)
    assert one == plan(round_, clients=shuffled, cohort=share)
    assert list(one.cohort) == sorted(set(one.cohort))
    assert set(one.cohort) <= set(clients)
    assert one.round == round_


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 100))
def test_shares_are_rounded_up_exactly(n, cohort_percent, quorum_percent):
    # 0.07 * 100 is 7.000000000000001 in floating point. A share of seven in a hundred is still seven.
    found = plan(clients=map(str, range(n)), cohort=cohort_percent / 100, quorum=quorum_percent / 100)
    size = math.ceil(Fraction(cohort_percent, 100) * n)
    assert len(found.cohort) == size
    assert found.quorum == max(1, math.ceil(Fraction(quorum_percent, 100) * size))


def test_rounds_and_seeds_draw_other_cohorts_and_every_client_is_selected():
    clients = [f"c{i:02d}" for i in range(20)]
    cohorts = [plan(round_, clients=clients, cohort=0.2).cohort for round_ in range(1, 61)]
    assert set().union(*cohorts) == set(clients)
    assert len(set(cohorts)) > 50
    assert cohorts != [plan(round_, clients=clients, cohort=0.2, seed=8).cohort for round_ in range(1, 61)]
    # Each of 60 rounds draws 4 of 20: 12 rounds each on average, 4 standard deviations are 12.4.
    turns = [sum(client in cohort for cohort in cohorts) for client in clients]
    assert sum(turns) == 240
    assert max(turns) < 25


def test_a_round_needs_a_client():
    with pytest.raises(InvalidInput, match="at least one client"):
        plan(clients=[])


def test_a_quorum_of_deliveries_is_enough():
    require_quorum(
        plan(quorum=0.5), ["b", "a"], [Rejection("c", "deadline", "late"), Rejection("d", "x", "y")]
    )


def test_a_missed_quorum_names_the_missing_clients_and_the_reasons():
    rejected = (Rejection("c", "deadline", "no answer in 60 s"), Rejection("d", "training", "no such file"))
    with pytest.raises(QuorumNotReached) as caught:
        require_quorum(plan(9, quorum=0.75), ["b", "a"], iter(rejected))
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301
        assert (error.round, error.quorum) == (9, 3)
        assert error.accepted == ["a", "b"]
        assert error.rejected == rejected
        assert "2 usable updates from 4 selected clients, but its quorum is 3" in str(error)
        assert "c (deadline: no answer in 60 s); d (training: no such file)" in str(error)


def test_only_the_first_of_many_missing_clients_are_named():
    rejected = [Rejection(f"c{number}", "training", "It failed.") for number in range(7)]
    with pytest.raises(QuorumNotReached) as caught:
        require_quorum(plan(), [], rejected)
    assert caught.value.rejected == tuple(rejected)
    assert "c4 (training: It failed); and 2 more. Repair those clients" in str(caught.value)
    assert "c5" not in str(caught.value)


def test_clients_that_break_the_interactions_contract_are_told_where_its_limits_are():
    unfit = [Rejection(name, "interactions", "broken") for name in "abcd"]
    with pytest.raises(QuorumNotReached) as caught:
        require_quorum(plan(), [], unfit)
    assert "limits in contracts.interactions" in caught.value.next_step
    with pytest.raises(QuorumNotReached) as caught:
        require_quorum(plan(), [], [*unfit[:3], Rejection("d", "deadline", "late")])
    assert "contracts" not in caught.value.next_step


def test_a_quorum_is_at_least_one_client():
    assert plan(quorum=0.0).quorum == 1
    with pytest.raises(QuorumNotReached, match="Missing: none"):
        require_quorum(plan(quorum=0.0), [], [])


@pytest.mark.parametrize(
    ("share", "done", "expected"),
    [(0.0, 0.99, 2.0), (0.5, 0.0, 2.0), (0.5, 0.5, 2.0), (0.5, 0.75, 1.0), (1.0, 0.0, 2.0), (1.0, 0.9, 0.2)],
)
def test_a_rate_falls_linearly_over_the_last_share_of_a_training(share, done, expected):
    assert cooled_down(2.0, share, done) == pytest.approx(expected)


def test_every_few_rounds_and_the_last_are_evaluated():
    assert [each for each in range(1, 9) if is_evaluated(each, every=3, rounds=8)] == [3, 6, 8]
