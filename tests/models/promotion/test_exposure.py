"""The exposure alarm: which jumps of an item's share of lists it names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.promotion.exposure import Exposure, ExposurePolicy, Jump, exposure_jumps


def exposure(*counts: int, lists: int = 100) -> Exposure:
    return Exposure(np.array(counts), lists)


def test_an_item_that_jumps_beyond_twice_the_honest_jump_is_named():
    # Between the two earlier versions, item 0 jumps by .1 and item 1 by .04, so the limit is .2.
    history = (exposure(20, 10, 0), exposure(10, 14, 0))
    assert exposure_jumps(exposure(40, 14, 20), history) == ()
    assert exposure_jumps(exposure(41, 14, 50), history) == (
        Jump(2, share=0.5, before=0.0, limit=0.2),
        Jump(0, share=0.41, before=0.2, limit=0.2),
    )


def test_the_smallest_jump_that_counts_is_the_limit_of_versions_that_do_not_differ():
    history = (exposure(20, 0), exposure(20, 0))
    assert exposure_jumps(exposure(20, 5), history) == ()
    assert [each.item for each in exposure_jumps(exposure(20, 6), history)] == [1]


def test_half_of_the_lists_is_too_far_whatever_earlier_versions_did():
    # They jump by .4, so twice that would allow .8.
    history = (exposure(40, 0), exposure(0, 0))
    assert exposure_jumps(exposure(90, 50), history) == ()
    assert [(each.item, each.limit) for each in exposure_jumps(exposure(90, 51), history)] == [(1, 0.5)]


def test_a_single_earlier_version_does_not_tell_how_far_honest_ones_jump():
    history = (exposure(20, 0),)
    assert exposure_jumps(exposure(20, 20), history) == ()
    assert [each.limit for each in exposure_jumps(exposure(20, 21), history)] == [0.2]


def test_without_an_earlier_version_there_is_no_alarm():
    assert exposure_jumps(exposure(0, 100), ()) == ()


def test_shares_count_and_not_numbers_of_lists():
    assert exposure_jumps(exposure(200, 0, lists=1000), (exposure(20, 0),)) == ()


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=5), st.data())
def test_a_version_of_the_history_raises_no_alarm(versions: list[list[int]], data: st.DataObject):
    history = [exposure(*counts, lists=50) for counts in versions]
    assert exposure_jumps(data.draw(st.sampled_from(history)), history) == ()


@pytest.mark.parametrize("counts", [[101], [-1], [[1]]])
def test_counts_that_are_no_counts_of_lists_are_refused(counts: list):
    with pytest.raises(InvalidInput, match="one number for each item"):
        Exposure(np.array(counts), 100)


@pytest.mark.parametrize(
    "values", [{"least": 0.0}, {"unmeasured": 1.0}, {"factor": 0.5}, {"least": 0.3, "most": 0.2}]
)
def test_a_policy_out_of_range_is_refused(values: dict[str, float]):
    with pytest.raises(InvalidInput, match="exposure policy"):
        ExposurePolicy(**values)


def test_catalogues_of_different_sizes_are_refused():
    with pytest.raises(InvalidInput, match=r"\[1, 2\] items"):
        exposure_jumps(exposure(1), (exposure(1, 2),))
