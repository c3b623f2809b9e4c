"""The graph of a session is regular, symmetric and connected, and its thresholds leave two thirds."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from models.errors import InvalidInput
from models.secure_sum.graph import COMPLETE, DEGREE, neighbours, threshold
from models.secure_sum.session import Session
from tests.models.secure_sum.sums import cohort_of, new_members


def names_of(count: int) -> tuple[str, ...]:
    return tuple(f"silo {number}" for number in range(count))


@pytest.mark.parametrize("count", [3, COMPLETE])
def test_in_a_small_cohort_all_others_are_neighbours(count: int) -> None:
    names = names_of(count)
    assert neighbours(names, "seed") == {name: tuple(sorted(set(names) - {name})) for name in names}


@settings(max_examples=20)
@given(count=st.integers(COMPLETE + 1, 300), seed=st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_large_cohort_has_a_regular_symmetric_graph(count: int, seed: str) -> None:
    graph = neighbours(names_of(count), seed)
    assert {len(set(around)) for around in graph.values()} == {DEGREE}
    assert all(name not in around and list(around) == sorted(around) for name, around in graph.items())
    assert all(name in graph[other] for name, around in graph.items() for other in around)


@settings(max_examples=20)
@given(data=st.data(), seed=st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_regular_graph_stays_connected_without_any_half_degree_of_members(
    data: st.DataObject, seed: str
) -> None:
    names = names_of(data.draw(st.integers(COMPLETE + 1, 80)))
    graph = neighbours(names, seed)
    # A Harary graph of degree k is k-connected (Harary 1962).
    lost = set(data.draw(st.permutations(names))[: DEGREE - 1])
    left = set(names) - lost
    reached, new = set(), {min(left)}
    while new:
        reached |= new
        new = {other for name in new for other in graph[name]} & left - reached
    assert reached == left


def test_the_order_on_the_ring_depends_on_the_session_and_on_the_keys() -> None:
    names = names_of(60)
    assert neighbours(names, "a") != neighbours(names, "b")
    members = new_members(40)
    cohort = cohort_of(members)
    graphs = [Session(cohort, "a"), Session(cohort, "b"), Session(cohort_of(new_members(40)), "a")]
    assert len({str(sorted(session.neighbours.items())) for session in graphs}) == 3


@given(st.integers(1, 10_000))
def test_a_threshold_is_the_least_number_above_two_thirds(size: int) -> None:
    assert threshold(size) - 1 <= Fraction(2 * size, 3) < threshold(size)
    assert size - threshold(size) == math.ceil(size / 3) - 1
    # Two groups of threshold members share more members than may collude.
    assert 2 * threshold(size) - size > math.ceil(size / 3) - 1


@pytest.mark.parametrize("session", ["", "x" * 201])
def test_a_session_has_a_short_id(session: str) -> None:
    with pytest.raises(InvalidInput, match=f"{len(session)} characters, expected 1 to 200"):
        Session(cohort_of(new_members(3)), session)


@pytest.mark.parametrize(("count", "share", "bits"), [(1000, 0.05, 46), (1000, 0.1, 29), (300, 0.05, 999)])
def test_colluding_members_are_rarely_so_many_around_one(count: int, share: float, bits: int) -> None:
    # The probability, summed over the members, that around one so many collude as open its seeds.
    needed, colluding = threshold(DEGREE + 1), int(count * share)
    assert count * hypergeom.sf(needed - 1, count - 1, colluding, DEGREE) < 2.0**-bits


@pytest.mark.parametrize(("count", "failing", "most"), [(100, 5, 0.0), (1000, 20, 1e-5), (1000, 50, 0.01)])
def test_random_failures_rarely_leave_a_member_too_few_neighbours(
    count: int, failing: int, most: float
) -> None:
    spare = DEGREE + 1 - threshold(DEGREE + 1)
    # Of a member that failed, one fewer of its neighbours may fail: it holds no share of its own seeds.
    failed = failing * hypergeom.sf(spare - 1, count - 1, failing - 1, DEGREE)
    alive = (count - failing) * hypergeom.sf(spare, count - 1, failing, DEGREE)
    assert failed + alive <= most
