"""The exposure alarm: which jumps of an item's share of lists it names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.promotion.exposure import (
    Exposure,
    ExposurePolicy,
    Jump,
    exposure_jumps,
    farthest_jump,
    probe_items,
)


def exposure(*counts: int, lists: int = 100) -> Exposure:
    return Exposure(np.array(counts), lists)


def test_an_item_that_jumps_beyond_twice_the_honest_jump_is_named():
    # Between the two earlier versions, item 0 jumps by .125 and item 1 by .04, so the limit is .25.
    history = (exposure(25, 10, 0, lists=200), exposure(0, 18, 0, lists=200))
    assert exposure_jumps(exposure(75, 14, 50, lists=200), history) == ()
    assert exposure_jumps(exposure(76, 14, 60, lists=200), history) == (
        Jump(2, share=0.3, before=0.0, limit=0.25),
        Jump(0, share=0.38, before=0.125, limit=0.25),
    )


def test_the_least_jump_is_the_limit_of_versions_that_do_not_differ():
    history = (exposure(20, 0), exposure(20, 0))
    assert exposure_jumps(exposure(20, 20), history) == ()
    assert [each.item for each in exposure_jumps(exposure(20, 21), history)] == [1]


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
    "values", [{"least": 0.0}, {"most": 1.0}, {"factor": 0.5}, {"most": 0.0}, {"lists": 0}]
)
def test_a_policy_out_of_range_is_refused(values: dict[str, float]):
    with pytest.raises(InvalidInput, match="exposure policy"):
        ExposurePolicy(**values)


def test_a_least_above_the_most_says_which_limit_to_raise():
    with pytest.raises(InvalidInput, match=r"least=0.6 .* is above most=0.5") as refused:
        ExposurePolicy.of({"least": 0.6})
    assert "--exposure least=0.6 --exposure most=0.6" in refused.value.next_step
    assert ExposurePolicy.of({"least": 0.6, "most": 0.6}).most == 0.6


def test_catalogues_of_different_sizes_are_refused():
    with pytest.raises(InvalidInput, match=r"\[1, 2\] items"):
        exposure_jumps(exposure(1), (exposure(1, 2),))


def test_the_farthest_jump_is_the_one_beyond_the_largest_earlier_share():
    # Item 1 rises by .25 from the first version, but by .05 only from the second one; item 0 by .1 from both.
    history = (exposure(20, 5), exposure(20, 25))
    assert farthest_jump(exposure(30, 30), history) == Jump(0, share=0.3, before=0.2, limit=0.4)


def test_a_version_that_jumps_nowhere_has_a_farthest_item_all_the_same():
    assert farthest_jump(exposure(10, 2), (exposure(20, 5),)) == Jump(1, share=0.02, before=0.05, limit=0.2)


def test_a_policy_by_names_keeps_the_other_defaults():
    assert ExposurePolicy.of({"least": 0.3, "lists": 500.0}) == ExposurePolicy(least=0.3, lists=500)
    assert ExposurePolicy.of({}) == ExposurePolicy()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"leest": 0.3}, "no setting leest"),
        ({"lists": float("inf")}, "lists must be a finite number"),
        ({"least": float("nan")}, "least must be a finite number"),
        ({"lists": 0.5}, "exposure policy"),
    ],
)
def test_settings_that_are_unknown_or_no_numbers_are_refused(values: dict[str, float], message: str):
    with pytest.raises(InvalidInput, match=message):
        ExposurePolicy.of(values)


ids = st.lists(st.text(max_size=4), min_size=1, max_size=12, unique=True)


@given(st.lists(ids, min_size=1, max_size=4), st.integers(1, 12), st.data())
def test_probes_are_items_of_all_versions_in_whatever_order(
    catalogues: list[list[str]], most: int, data: st.DataObject
):
    found = probe_items(catalogues, most)
    shared = set.intersection(*map(set, catalogues))
    assert set(found) <= shared
    assert len(found) == len(set(found)) == min(most, len(shared))
    mixed = [data.draw(st.permutations(each)) for each in data.draw(st.permutations(catalogues))]
    assert probe_items(mixed, most) == found


@given(ids, st.text(max_size=4), st.integers(1, 12))
def test_a_new_item_replaces_at_most_one_probe(items: list[str], new: str, most: int):
    before, after = probe_items([items], most), probe_items([sorted({*items, new})], most)
    assert len(set(after) - set(before)) <= 1
    assert set(after) - set(before) <= {new}
