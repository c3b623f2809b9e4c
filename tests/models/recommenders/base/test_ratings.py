"""Ratings of a client, in one order whatever the order of rows."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.recommenders.base.ratings import Ratings


def test_ratings_are_sorted_by_user_with_their_values():
    ratings = Ratings.of(np.array([2, 0, 2]), np.array([3, 1, 0]), np.array([5.0, 4.0, 1.0]), (3, 4))
    assert ratings.users.tolist() == [0, 2, 2]
    assert ratings.items.tolist() == [1, 0, 3]
    assert ratings.values.tolist() == [4.0, 1.0, 5.0]
    assert ratings.counts.tolist() == [1, 0, 2]
    assert (len(ratings), ratings.n_items) == (3, 4)
    assert ratings.matrix(ratings.values).toarray().tolist() == [[0, 4, 0], [0, 0, 0], [1, 0, 5]]
    assert ratings.rated.tolist() == [0, 1, 3]
    assert ratings.spread(np.array([1.0, 2.0, 3.0])).tolist() == [1, 2, 0, 3]


@pytest.mark.parametrize(
    ("users", "items", "values", "problem"),
    [
        ([0, 1], [0, 1], [3.0], "2, 2 and 1"),
        ([0], [0], [np.nan], "not a finite number"),
        ([0, 0], [1, 1], [3.0, 4.0], "twice"),
        ([0], [4], [3.0], "Item rows"),
    ],
)
def test_impossible_ratings_are_refused(users, items, values, problem):
    with pytest.raises(InvalidInput, match=problem):
        Ratings.of(np.array(users), np.array(items), np.array(values), (2, 4))
