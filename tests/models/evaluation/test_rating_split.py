"""A rating is held out by its own random number."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.rating_split import split_ratings
from models.kernel.streams import user_keys

KEYS = user_keys(1, "rating split", [str(user) for user in range(200)])
USERS, ITEMS = np.divmod(np.arange(200 * 50), 50)


def test_three_tenths_are_test_and_a_fifth_of_the_rest_validation():
    test = split_ratings(KEYS, USERS, ITEMS, validation=False)
    choice = split_ratings(KEYS, USERS, ITEMS, validation=True)
    assert (test.train ^ test.held_out).all()
    assert test.held_out.mean() == pytest.approx(0.3, abs=0.02)
    # The validation split does not depend on the test ratings.
    np.testing.assert_array_equal(choice.train | choice.held_out, test.train)
    assert not (choice.train & choice.held_out).any()
    assert choice.held_out.sum() / test.train.sum() == pytest.approx(0.2, abs=0.02)


def test_a_user_s_split_does_not_depend_on_other_users():
    whole = split_ratings(KEYS, USERS, ITEMS, validation=False)
    own = USERS == 7
    alone = split_ratings(KEYS[[7]], USERS[own] - 7, ITEMS[own], validation=False)
    np.testing.assert_array_equal(alone.held_out, whole.held_out[own])
