"""Rounding to the steps of a public range, held to exact arithmetic with fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.errors import InvalidInput
from models.kernel.ranges import ANY_RANGE, Range

RANGES = st.builds(
    Range,
    lowest=st.integers(-(2**45), 0) | st.integers(-100, 0),
    highest=st.integers(1, 2**45) | st.integers(1, 100),
    step=st.integers(-40, 20).map(lambda exponent: 2.0**exponent),
)
WEIGHTS = st.integers(0, 10**6).map(float)
ARRAYS = npst.arrays(
    np.float32, st.integers(1, 6), elements=st.floats(allow_nan=False, width=32) | st.floats(-9, 9, width=32)
)


@settings(max_examples=300)
@given(RANGES, WEIGHTS, ARRAYS)
def test_a_value_becomes_the_nearest_of_its_range(range_, weight, array):
    found, clipped = range_.rounded(array, weight)
    assert found.dtype == np.float32
    step, outside = Fraction(range_.step), 0
    # Beyond 2^53 steps a range ends, because sums of more are not exact.
    lowest = max(range_.lowest * Fraction(weight), -(2**53)) * step
    highest = min(range_.highest * Fraction(weight), 2**53) * step
    for value, rounded in zip(array.tolist(), found.tolist(), strict=True):
        exact = Fraction(rounded)
        assert lowest <= exact <= highest
        assert (exact / step).denominator == 1
        nearest = np.inf if np.isinf(value) else Fraction(round(Fraction(value) / step)) * step
        nearest = -nearest if value == -np.inf else nearest
        if lowest <= nearest <= highest:
            assert exact == nearest
            continue
        outside += 1
        end = highest if nearest > highest else lowest
        # The end itself, or the last float32 before it.
        beyond = np.nextafter(np.float32(rounded), np.float32(np.inf if end > 0 else -np.inf))
        assert exact == end or abs(Fraction(float(beyond))) > abs(end)
    assert clipped == outside


@settings(max_examples=100)
@given(RANGES, WEIGHTS, ARRAYS)
def test_rounding_again_changes_no_bit_and_clips_nothing(range_, weight, array):
    once, _ = range_.rounded(array, weight)
    again, clipped = range_.rounded(once, weight)
    assert (again.tobytes(), clipped) == (once.tobytes(), 0)


@settings(max_examples=100)
@given(RANGES, WEIGHTS, ARRAYS)
def test_whole_numbers_give_the_same_bits_in_the_smallest_type(range_, weight, array):
    rounded, _ = range_.rounded(array, weight)
    steps = range_.in_steps(rounded, weight)
    assert range_.of_steps(steps).tobytes() == rounded.tobytes()
    lowest, highest = range_.ends(weight)
    holding = [
        each
        for each in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")
        if np.iinfo(each).min <= lowest and highest <= np.iinfo(each).max
    ]
    assert steps.dtype == holding[0]


def test_a_range_by_hand():
    quarters = Range(-4, 8, 0.25)
    array = np.array([-2, -1, -0.9, -0.1, 0.12, 0.3, 1.99, 2.2, np.inf], np.float32)
    found, clipped = quarters.rounded(array)
    assert found.tolist() == [-1, -1, -1, 0, 0, 0.25, 2, 2, 2]
    assert clipped == 3
    assert quarters.in_steps(found).tolist() == [-4, -4, -4, 0, 0, 1, 8, 8, 8]
    assert quarters.ends(3.0) == (-12, 24)
    assert quarters.rounded(array, 2.0)[0].tolist() == [-2, -1, -1, 0, 0, 0.25, 2, 2.25, 4]


def test_a_half_goes_to_the_even_number_of_steps():
    found, _ = Range(-9, 9, 1.0).rounded(np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32))
    assert found.tolist() == [0, 2, 2, 0, -2]
    assert not np.signbit(found[3])


def test_not_a_number_stays_and_is_not_counted_and_is_no_number_of_steps():
    found, clipped = ANY_RANGE.rounded(np.array([np.nan, 1], np.float32))
    assert (np.isnan(found).tolist(), clipped) == ([True, False], 0)
    with pytest.raises(InvalidInput, match="Round the contribution before it is encoded"):
        ANY_RANGE.in_steps(found)


@pytest.mark.parametrize("value", [0.1, -1.25, 2.25, np.inf, -np.inf])
def test_only_values_of_the_range_are_encoded(value):
    with pytest.raises(InvalidInput, match=r"A value is not one of -4 to 8 steps of 0\.25"):
        Range(-4, 8, 0.25).in_steps(np.array([0.5, value], np.float32))


def test_ranges_of_a_number_of_bits():
    assert Range.symmetric(4.0, 16) == Range(-32768, 32767, 2.0**-13)
    assert Range.symmetric(4.0, 16).dtype() == np.int16
    assert Range.counting(24) == Range(0, 16777215, 1.0)
    assert Range.counting(8, 0.5).dtype() == np.uint8


@pytest.mark.parametrize("step", [0.0, -1.0, 3.0, 0.1, float("nan"), float("inf")])
def test_a_step_is_a_power_of_two(step):
    with pytest.raises(InvalidInput, match="expected a power of two"):
        Range(-1, 1, step)


@pytest.mark.parametrize(("lowest", "highest"), [(1, 2), (-1, 0), (-2, -1), (-(2**53), 1), (0, 2**53)])
def test_the_ends_of_a_range_lie_around_zero_and_are_exact(lowest, highest):
    with pytest.raises(InvalidInput, match="expected ends around 0"):
        Range(lowest, highest, 1.0)
