"""Contributions rounded to public ranges."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.federation.contribution import Contribution
from models.federation.fixed_point import ranges_for, rounded, size_in_steps
from models.federation.model import ItemArrays
from models.kernel.metric import Metric
from models.kernel.packed import PackedArrays, packed, whole
from models.kernel.ranges import ANY_RANGE, Range

HALVES = dict.fromkeys(ItemArrays.names(), Range(-10, 10, 0.5))


@st.composite
def contributions(draw: st.DrawFn) -> Contribution[ItemArrays]:
    """Draw a contribution of six items, of which most rows are zeros."""
    floats = st.sampled_from([0.0, 0.0, 0.0, 1.3, -7.2, 1e20])
    arrays = (draw(npst.arrays(np.float32, shape, elements=floats)) for shape in ((6, 2), (6,), (6,), (6,)))
    return Contribution(ItemArrays(*arrays), float(draw(st.integers(1, 3))))


@settings(max_examples=50)
@given(contributions())
def test_packed_arrays_are_rounded_as_whole_ones(contribution):
    part = packed(contribution.arrays)
    ours = rounded(Contribution(part, contribution.weight), HALVES)
    theirs = rounded(contribution, HALVES)
    assert isinstance(ours.arrays, PackedArrays) == isinstance(part, PackedArrays)
    for (name, one), (_, other) in zip(whole(ours.arrays).named(), theirs.arrays.named(), strict=True):
        assert one.tobytes() == other.tobytes(), name
    assert (ours.metrics, ours.ranges) == (theirs.metrics, theirs.ranges)


@settings(max_examples=50)
@given(contributions())
def test_rounding_twice_is_rounding_once(contribution):
    once = rounded(contribution, HALVES)
    again = rounded(once, HALVES)
    assert [array.tobytes() for _, array in again.arrays.named()] == [
        array.tobytes() for _, array in once.arrays.named()
    ]
    assert again.metrics["clipped"] == Metric(0.0, 30.0)


def test_clipped_values_are_counted_over_all_arrays():
    arrays = ItemArrays(
        embeddings=np.array([[6, -6], [0.3, 5]], np.float32),
        biases=np.array([5.1, -5.2], np.float32),
        embedding_accumulators=np.array([0, 900], np.float32),
        bias_accumulators=np.zeros(2, np.float32),
    )
    found = rounded(Contribution(arrays), HALVES)
    assert found.arrays.embeddings.tolist() == [[5, -5], [0.5, 5]]
    assert found.arrays.biases.tolist() == [5, -5]  # 5.1 is nearest to 5
    assert found.arrays.embedding_accumulators.tolist() == [0, 5]
    assert found.metrics == {"clipped": Metric(3.0, 10.0)}
    assert found.ranges == HALVES


def test_a_weight_widens_the_range():
    arrays = ItemArrays(*(np.full(shape, 12, np.float32) for shape in ((1, 1), (1,), (1,), (1,))))
    for weight, expected in ((1.0, 5.0), (2.0, 10.0), (3.0, 12.0)):
        assert rounded(Contribution(arrays, weight), HALVES).arrays.biases.tolist() == [expected]


def test_metrics_are_whole_millionths_so_that_their_sums_are_exact():
    arrays = ItemArrays(*(np.zeros(shape, np.float32) for shape in ((1, 1), (1,), (1,), (1,))))
    metrics = {"loss": Metric(0.1, 3.0), "users": Metric(7.0, 1.0)}
    found = rounded(Contribution(arrays, metrics=metrics), HALVES).metrics
    # 0.1 * 2^20 is 104857.6.
    assert found["loss"] == Metric(104858 / 2**20, 3.0)
    assert found["users"] == Metric(7.0, 1.0)


def test_the_last_range_given_counts_and_other_arrays_have_a_wide_one():
    one, two = Range(-1, 1, 1.0), Range(-2, 2, 1.0)
    assert ranges_for(ItemArrays, {"biases": one, "embeddings": one}, {"biases": two}) == {
        "embeddings": one,
        "biases": two,
        "embedding_accumulators": ANY_RANGE,
        "bias_accumulators": ANY_RANGE,
    }


def test_the_size_of_an_update_is_that_of_its_whole_numbers():
    arrays = ItemArrays(*(np.zeros(shape, np.float32) for shape in ((7, 3), (7,), (7,), (7,))))
    ranges = {"embeddings": Range.symmetric(4.0, 16), "biases": Range.counting(8)}
    # 2 bytes an embedding value, 1 a bias, and 8 for the 40 bits of each accumulator.
    assert size_in_steps(arrays, ranges) == 7 * (3 * 2 + 1 + 8 + 8)
