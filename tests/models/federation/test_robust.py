"""Robust estimates of a sum: what they are by hand, and the laws that they obey."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.errors import InvalidInput
from models.federation import robust
from models.federation.robust import groups_of, krum_sum, median_sum, norm_bounded_sum, trimmed_sum

Estimate = Callable[[np.ndarray], np.ndarray]

ESTIMATES: dict[str, Estimate] = {
    "norm_bounded": norm_bounded_sum,
    "trimmed": partial(trimmed_sum, share=0.25),
    "median": median_sum,
    "krum": partial(krum_sum, liars=1),
    "multi_krum": partial(krum_sum, liars=1, kept=3),
}
every_estimate = pytest.mark.parametrize("estimate", ESTIMATES.values(), ids=ESTIMATES.keys())
VALUES = st.floats(-100, 100, width=32)


def matrices(least: int = 5, most: int = 9) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(least, most), st.integers(1, 4))
    return shapes.flatmap(lambda shape: npst.arrays(np.float32, shape, elements=VALUES))


@every_estimate
@given(npst.arrays(np.float32, 4, elements=VALUES), st.integers(5, 9))
def test_equal_vectors_give_their_sum(estimate: Estimate, vector: np.ndarray, clients: int):
    vectors = np.stack([vector] * clients)
    np.testing.assert_allclose(estimate(vectors), vectors.sum(axis=0, dtype=np.float64), rtol=1e-12)


@pytest.mark.parametrize("name", ["trimmed", "median"])
@given(vectors=matrices(), data=st.data())
def test_the_order_of_the_clients_changes_no_byte(name: str, vectors: np.ndarray, data: st.DataObject):
    order = data.draw(st.permutations(range(len(vectors))))
    estimate = ESTIMATES[name]
    np.testing.assert_array_equal(estimate(vectors), estimate(vectors[order]))


@given(vectors=matrices(), data=st.data())
def test_the_order_of_the_clients_changes_a_norm_bounded_sum_by_rounding_only(
    vectors: np.ndarray, data: st.DataObject
):
    order = data.draw(st.permutations(range(len(vectors))))
    np.testing.assert_allclose(norm_bounded_sum(vectors), norm_bounded_sum(vectors[order]), atol=1e-9)


@every_estimate
@given(matrices())
def test_a_sequence_of_vectors_is_as_good_as_a_matrix(estimate: Estimate, vectors: np.ndarray):
    np.testing.assert_array_equal(estimate(list(vectors)), estimate(vectors))


@every_estimate
def test_parts_of_the_values_give_the_whole(estimate: Estimate, monkeypatch: pytest.MonkeyPatch):
    vectors = np.random.default_rng(3).normal(size=(7, 50))
    whole = estimate(vectors)
    monkeypatch.setattr(robust, "_MOST_VALUES", 7 * 8)  # parts of 8 values
    np.testing.assert_allclose(estimate(vectors), whole, rtol=1e-12)


@pytest.mark.parametrize("name", ["trimmed", "median"])
@given(honest=npst.arrays(np.float32, (9, 3), elements=VALUES), lie=st.floats(-1e30, 1e30), data=st.data())
def test_a_quarter_of_liars_cannot_leave_the_range_of_the_honest(
    name: str, honest: np.ndarray, lie: float, data: st.DataObject
):
    # The breakdown bound: of 12 values, 3 are left out at each end.
    lies = data.draw(npst.arrays(np.float64, (3, 3), elements=st.sampled_from([lie, -lie, 0.0])))
    found = ESTIMATES[name](np.concatenate([honest.astype(np.float64), lies])) / 12
    slack = 1e-9 * np.abs(honest).max()
    assert (found >= honest.min(axis=0) - slack).all()
    assert (found <= honest.max(axis=0) + slack).all()


@given(honest=npst.arrays(np.float32, (8, 3), elements=VALUES), lie=st.floats(-1e30, 1e30))
def test_a_liar_adds_no_more_than_the_bound_to_a_norm_bounded_sum(honest: np.ndarray, lie: float):
    vectors = np.concatenate([honest.astype(np.float64), np.full((1, 3), lie)])
    moved = norm_bounded_sum(vectors, 2.0) - norm_bounded_sum(honest, 2.0)
    assert np.linalg.norm(moved) <= 2.0 * (1 + 1e-9)


@pytest.mark.parametrize("kept", [1, 5])
def test_krum_keeps_no_liar_who_is_far_from_the_honest(kept: int):
    honest = np.random.default_rng(5).normal(size=(7, 20))
    lies = np.full((2, 20), 1e6)
    found = krum_sum(np.concatenate([lies, honest]), 2, kept) / 9
    assert np.abs(found).max() <= np.abs(honest).max()


def test_norms_are_bounded_by_the_median_norm():
    # The norms are 5, 1 and 2, so the bound is 2, and only (3, 4) becomes shorter.
    vectors = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    np.testing.assert_allclose(norm_bounded_sum(vectors), [1.2 + 1.0, 1.6 + 2.0])
    np.testing.assert_allclose(norm_bounded_sum(vectors, multiple=0.5), [0.6 + 1.0, 0.8 + 1.0])
    np.testing.assert_allclose(norm_bounded_sum(vectors, 10.0), [4.0, 6.0])


def test_a_trimmed_mean_leaves_out_the_ends_of_each_value():
    vectors = np.array([[1.0, 9.0], [2.0, 1.0], [3.0, 2.0], [100.0, 3.0]])
    np.testing.assert_allclose(trimmed_sum(vectors, 0.25), [4 * 2.5, 4 * 2.5])
    np.testing.assert_allclose(trimmed_sum(vectors, 0.2), vectors.sum(axis=0))


def test_a_median_is_taken_value_by_value():
    np.testing.assert_allclose(median_sum(np.array([[1.0, 9.0], [2.0, 1.0], [30.0, 2.0]])), [6.0, 6.0])


def test_krum_keeps_the_vector_with_the_nearest_neighbours():
    # Of n = 5 and f = 1 the 2 nearest others count: 2.0 has 1 + 1, 1.0 has 1 + 4, 3.0 has 1 + 4.
    vectors = np.array([[10.0], [1.0], [2.0], [3.0], [50.0]])
    np.testing.assert_allclose(krum_sum(vectors, 1), [5 * 2.0])
    # 1.0 and 3.0 tie for the second place, and 1.0 comes first.
    np.testing.assert_allclose(krum_sum(vectors, 1, kept=2), [5 * 1.5])


@given(st.sets(st.text(min_size=1, max_size=3), min_size=1, max_size=40), st.integers(1, 12), st.data())
def test_groups_are_a_deal_of_the_cohort(cohort: set[str], size: int, data: st.DataObject):
    ids = data.draw(st.permutations(sorted(cohort)))
    groups = groups_of(ids, size, seed=4)
    assert sorted(name for group in groups for name in group) == sorted(cohort)
    assert all(list(group) == sorted(group) for group in groups)
    lengths = [len(group) for group in groups]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= min(size, len(cohort))
    assert groups == groups_of(sorted(cohort), size, seed=4)


def test_another_seed_deals_other_groups():
    ids = [f"client-{number}" for number in range(40)]
    assert groups_of(ids, 5, seed=1) != groups_of(ids, 5, seed=2)


@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        ([], "one length"),
        ([np.zeros(2), np.zeros(3)], "one length"),
        ([np.zeros((2, 2))], "one length"),
        ([np.zeros(2), np.array([0.0, np.nan])], "position 1 has a value that is not finite"),
    ],
)
def test_vectors_that_have_no_sum_are_refused(vectors: list[np.ndarray], match: str):
    for estimate in ESTIMATES.values():
        with pytest.raises(InvalidInput, match=match):
            estimate(vectors)  # type: ignore[arg-type]  # a sequence, too


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda v: norm_bounded_sum(v, 0.0), "must be positive"),
        (lambda v: norm_bounded_sum(v, multiple=0.0), "must be positive"),
        (lambda v: trimmed_sum(v, 0.5), "leave out a share of 0.5"),
        (lambda v: trimmed_sum(v, -0.1), "leave out a share of -0.1"),
        (lambda v: krum_sum(v, 2), "at least 7 clients, got 5"),
        (lambda v: krum_sum(v, -1), "withstands -1"),
        (lambda v: krum_sum(v, 1, 0), "cannot keep 0 of 5"),
        (lambda v: krum_sum(v, 1, 5), "cannot keep 5 of 5"),
    ],
)
def test_settings_out_of_range_are_refused(call: Estimate, match: str):
    with pytest.raises(InvalidInput, match=match):
        call(np.zeros((5, 2)))


@pytest.mark.parametrize(("ids", "size"), [([], 5), (["a", "a"], 1), (["a"], 0)])
def test_cohorts_that_cannot_be_dealt_are_refused(ids: list[str], size: int):
    with pytest.raises(InvalidInput, match="cannot be dealt"):
        groups_of(ids, size, seed=1)


def test_vectors_without_values_have_an_empty_sum():
    assert median_sum(np.zeros((3, 0))).shape == (0,)
