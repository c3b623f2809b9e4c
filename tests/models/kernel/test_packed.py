"""Packed arrays stand for the whole ones: they sum to the same bytes, and no other form is accepted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.errors import InvalidInput
from models.federation.client_drift import MergedDirection
from models.federation.contribution import Contribution, RunningSum
from models.federation.model import ItemArrays
from models.kernel.packed import KeptRows, PackedArrays, packed, shapes_of, whole, with_rows
from models.recommenders.additive.next_item import NextItemStatistics
from models.recommenders.lightfm.merge_rules import merge_rule

SHAPES = ((6, 2), (6,), (6,), (6,))


@st.composite
def sparse_arrays(draw: st.DrawFn) -> ItemArrays:
    """Return arrays of which each row is zeros by chance, among them negative zeros."""
    arrays = []
    for shape in SHAPES:
        array = draw(npst.arrays(np.float32, shape, elements=st.floats(-9, 9, width=32)))
        array[draw(npst.arrays(np.bool_, shape[:1]))] = draw(st.sampled_from([0.0, -0.0]))
        arrays.append(array)
    return ItemArrays(*arrays)


def bits(arrays: ItemArrays) -> list[bytes]:
    return [array.tobytes() for _, array in arrays.named()]


def summed(parts: list[ItemArrays | PackedArrays[ItemArrays]]) -> RunningSum[ItemArrays]:
    state = RunningSum.zero(ItemArrays(*(np.zeros(shape, np.float32) for shape in SHAPES)))
    for number, part in enumerate(parts):
        state = state.plus(f"client-{number}", Contribution(part))
    return state


@settings(max_examples=60)
@given(st.lists(sparse_arrays(), min_size=1, max_size=4))
def test_packed_contributions_sum_to_the_bytes_of_whole_ones(parts):
    assert bits(summed([packed(each) for each in parts]).total) == bits(summed(parts).total)


@settings(max_examples=60)
@given(sparse_arrays())
def test_unpacking_gives_the_values_and_shapes_back(arrays):
    found = packed(arrays)
    assert shapes_of(found) == dict(zip(ItemArrays.names(), SHAPES, strict=True))
    for (_, back), (_, array) in zip(whole(found).named(), arrays.named(), strict=True):
        np.testing.assert_array_equal(back, array)
    assert packed(found) is found


@settings(max_examples=60)
@given(sparse_arrays(), sparse_arrays())
def test_the_drift_of_a_packed_contribution_is_that_of_the_whole_one(one, other):
    direction = MergedDirection.of(summed([one, other]).total)
    expected, found = direction.drift_of(one), direction.drift_of(packed(one))
    assert (found.norm, found.cosine) == pytest.approx((expected.norm, expected.cosine))


def test_an_array_is_packed_if_at_most_half_of_its_rows_have_values():
    few, many = np.zeros((6, 2), np.float32), np.zeros((6, 2), np.float32)
    few[[1, 3, 4], 1] = 1.0
    many[[0, 1, 3, 4]] = 1.0
    dense = many[:, 1].copy()
    found = packed(ItemArrays(few, few[:, 1].copy(), dense, dense))
    assert {name: kept.numbers.tolist() for name, kept in found.rows.items()} == {
        "embeddings": [1, 3, 4],
        "biases": [1, 3, 4],
    }
    assert found.values["embeddings"].tolist() == [[0.0, 1.0]] * 3
    assert found.values["embedding_accumulators"] is dense
    full = ItemArrays(many, dense, dense, dense)
    assert packed(full) is full


def test_a_value_that_is_not_finite_is_kept():
    arrays = [np.zeros(shape, np.float32) for shape in SHAPES]
    arrays[1][2] = np.nan
    found = packed(ItemArrays(*arrays))
    assert found.rows["biases"].numbers.tolist() == [2]
    assert np.isnan(found.values["biases"]).all()


def test_each_array_has_its_own_rows():
    statistics = NextItemStatistics(np.zeros(10, np.float32), np.zeros((4, 4), np.float32))
    gram, transitions = (array.copy() for _, array in statistics.named())
    gram[7], transitions[3, 0] = 2.0, 1.0
    found = packed(NextItemStatistics(gram, transitions))
    assert [found.rows[name].numbers.tolist() for name in found.kind.names()] == [[7], [3]]
    assert found.directional == statistics.directional
    assert found.GROWING == statistics.GROWING


def test_the_weight_multiplies_the_kept_values():
    arrays = [np.zeros(shape, np.float32) for shape in SHAPES]
    arrays[0][4] = 3.0
    weighted = merge_rule("weighted_mean").contribution(packed(ItemArrays(*arrays)), 5)
    assert weighted.arrays.values["embeddings"].tolist() == [[15.0, 15.0]]
    assert whole(weighted.arrays).embeddings[4].tolist() == [15.0, 15.0]


@pytest.mark.parametrize("rule", ["adagrad_sum", "sum", "mean", "weighted_mean", "fedadam"])
@pytest.mark.parametrize("changed", [[], [2], [0, 5], [0, 1, 2, 3, 4]])
def test_a_client_that_changed_few_items_prepares_only_these(rule, changed):
    base = ItemArrays(*(np.ones(shape, np.float32) for shape in SHAPES))
    trained = base.map(np.copy)
    for _, array in trained.named():
        array.flags.writeable = True
        array[changed] += 0.25
    found = merge_rule(rule).prepare_packed(base, trained)
    assert isinstance(found, PackedArrays) == (len(changed) <= 3)
    assert bits(whole(found)) == bits(merge_rule(rule).prepare(base, trained))


@pytest.mark.parametrize(
    "numbers", [[0, 0], [2, 1], [-1, 2], [0, 6], [[0, 1]], [0.0, 1.0], np.array([0, 1], np.int64)]
)
def test_numbers_of_rows_that_do_not_fit_are_refused(numbers):
    array = numbers if isinstance(numbers, np.ndarray) else np.array(numbers)
    kept = array.astype(np.int32) if array.dtype == np.int64 and isinstance(numbers, list) else array
    with pytest.raises(InvalidInput):
        KeptRows(kept, 6)


def test_arrays_that_do_not_belong_together_are_refused():
    part = ItemArrays(*(np.ones((2, *shape[1:]), np.float32) for shape in SHAPES))
    right = with_rows(part, np.array([0, 3], np.int32), 6)
    three = KeptRows(np.array([0, 1, 2], np.int32), 6)
    with pytest.raises(InvalidInput, match="expected 3 rows"):
        PackedArrays(ItemArrays, right.values, {"embeddings": three})
    with pytest.raises(InvalidInput, match="embeddings"):
        PackedArrays(ItemArrays, {"embeddings": right.values["embeddings"]}, {})
    with pytest.raises(InvalidInput, match="embeddings"):
        PackedArrays(ItemArrays, right.values, {"users": right.rows["embeddings"]})
