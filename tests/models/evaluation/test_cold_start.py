"""What is hidden in a cold start, on histories that are easy to check by eye."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.evaluation.cold_start import (
    fifths,
    hold_out_after,
    hold_out_items,
    latest,
    of_users,
    without_items,
)
from models.kernel.histories import Histories

# Three users of six items: the second has used one, the third none of those that are cold below.
HISTORIES = Histories(np.array([3, 0, 5, 1, 4, 2]), np.array([0, 3, 4, 6]), 6)
COLD = np.array([True, True, False, False, False, True])


def listed(histories: Histories) -> list[list[int]]:
    return [items.tolist() for items in histories]


def test_cold_items_are_in_no_history_and_all_of_them_are_cases():
    held = hold_out_items(HISTORIES, COLD)
    assert listed(held.histories) == [[3], [], [4, 2]]
    assert (held.users.tolist(), held.items.tolist()) == ([0, 0, 1], [0, 5, 1])
    assert held.negatives.shape == (3, 0)
    assert listed(without_items(HISTORIES, COLD)) == listed(held.histories)
    assert listed(without_items(HISTORIES, ~COLD)) == [[0, 5], [1], []]


def test_what_comes_after_the_first_items_is_held_out():
    held = hold_out_after(HISTORIES, 1)
    assert listed(held.histories) == [[3], [1], [4]]
    assert (held.users.tolist(), held.items.tolist()) == ([0, 0, 2], [0, 5, 2])
    with pytest.raises(InvalidInput, match="No history is longer than 3 items"):
        hold_out_after(HISTORIES, 3)


def test_a_history_told_in_part_ends_as_it_did():
    assert listed(latest(HISTORIES, 2)) == [[0, 5], [1], [4, 2]]
    assert listed(latest(HISTORIES, 9)) == listed(HISTORIES)


def test_chosen_users_keep_their_histories():
    assert listed(of_users(HISTORIES, np.array([True, False, True]))) == [[3, 0, 5], [4, 2]]


def test_fifths_depend_on_the_seed_and_on_what_they_are_of_alone():
    dealt = fifths(1000, 3, "items")
    assert set(dealt.tolist()) == {0, 1, 2, 3, 4}
    # A binomial share of a fifth: five standard deviations either way.
    assert all(200 - 64 < count < 200 + 64 for count in np.bincount(dealt))
    assert (dealt == fifths(1000, 3, "items")).all()
    for other in (fifths(1000, 4, "items"), fifths(1000, 3, "users", "ash")):
        assert (dealt != other).any()
