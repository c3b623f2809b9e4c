"""Wall time by activity. Overlapping work is counted once."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.jobs.stopwatch import Stopwatch, busy_seconds, share_of_wall_time


@pytest.mark.parametrize(
    ("spans", "busy"),
    [
        ([], 0.0),
        ([(1, 4)], 3.0),
        ([(1, 2), (3, 5)], 3.0),  # apart
        ([(1, 3), (2, 5)], 4.0),  # overlapping
        ([(1, 9), (2, 5), (3, 4)], 8.0),  # one inside the other
        ([(1, 2), (2, 3)], 2.0),  # touching
        ([(6, 8), (0, 2), (1, 3)], 5.0),  # in any order
        ([(1, 3), (1, 3), (4, 4)], 2.0),
    ],
)
def test_overlapping_spans_count_once(spans, busy):
    assert busy_seconds(spans) == busy


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=8))
def test_busy_seconds_are_those_in_which_any_activity_runs(found):
    spans = [(float(start), float(start + length)) for start, length in found]
    seconds = {second for start, length in found for second in range(start, start + length)}
    assert busy_seconds(spans) == len(seconds)


def test_activities_add_up():
    clock, other = Stopwatch(), Stopwatch()
    clock.add("train", 2.0)
    clock.add("train", 3.0)
    other.add("train", 1.0)
    other.add("merge", 4.0)
    clock.add_all(other)
    assert clock.seconds == {"train": 6.0, "merge": 4.0}
    assert other.seconds == {"train": 1.0, "merge": 4.0}


def test_a_block_is_measured_even_if_it_fails():
    clock = Stopwatch()
    with pytest.raises(RuntimeError), clock.measure("train"):
        time.sleep(0.02)
        raise RuntimeError
    assert 0.02 <= clock.seconds["train"] <= clock.elapsed


def test_wall_time_is_shared_in_proportion():
    assert share_of_wall_time(10.0, 3.0, 1.0, 1.0) == pytest.approx((6.0, 2.0, 2.0))
    assert share_of_wall_time(10.0, 0.0, 0.0) == (0.0, 0.0)
    assert share_of_wall_time(10.0) == ()
