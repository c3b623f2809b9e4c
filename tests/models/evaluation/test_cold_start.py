"""What is hidden in a cold start, on histories that can be checked by eye."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.evaluation import cold_start
from models.kernel.histories import Histories

# Three users of six items: the second has used one, the third none of those that are cold below.
HISTORIES = Histories(np.array([3, 0, 5, 1, 4, 2]), np.array([0, 3, 4, 6]), 6)
COLD = np.array([True, True, False, False, False, True])


def listed(histories: Histories) -> list[list[int]]:
    return [items.tolist() for items in histories]


def test_cold_items_are_in_no_history_and_all_of_them_are_cases():
    held = cold_start.hold_out_items(HISTORIES, COLD)
    assert listed(held.histories) == [[3], [], [4, 2]]
    assert (held.users.tolist(), held.items.tolist()) == ([0, 0, 1], [0, 5, 1])
    assert held.negatives.shape == (3, 0)
    assert listed(cold_start.without_items(HISTORIES, COLD)) == listed(held.histories)
    assert listed(cold_start.without_items(HISTORIES, ~COLD)) == [[0, 5], [1], []]


def test_items_after_the_first_ones_are_held_out():
    held = cold_start.hold_out_after(HISTORIES, 1)
    assert listed(held.histories) == [[3], [1], [4]]
    assert (held.users.tolist(), held.items.tolist()) == ([0, 0, 2], [0, 5, 2])
    with pytest.raises(InvalidInput, match="No history is longer than 3 items"):
        cold_start.hold_out_after(HISTORIES, 3)


def test_the_latest_items_of_a_history_are_its_end():
    assert listed(cold_start.latest(HISTORIES, 2)) == [[0, 5], [1], [4, 2]]
    assert listed(cold_start.latest(HISTORIES, 9)) == listed(HISTORIES)


def test_chosen_users_keep_their_histories():
    assert listed(cold_start.of_users(HISTORIES, np.array([True, False, True]))) == [[3, 0, 5], [4, 2]]


def test_fifths_depend_only_on_the_seed_and_the_names_of_what_is_dealt():
    dealt = cold_start.fifths(1000, 3, "items")
    assert set(dealt.tolist()) == {0, 1, 2, 3, 4}
    # A binomial share of a fifth: five standard deviations either way.
    assert all(200 - 64 < count < 200 + 64 for count in np.bincount(dealt))
    assert (dealt == cold_start.fifths(1000, 3, "items")).all()
    for other in (cold_start.fifths(1000, 4, "items"), cold_start.fifths(1000, 3, "users", "ash")):
        assert (dealt != other).any()
