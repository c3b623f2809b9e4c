"""Histories: sorted by user and time, complete, and pooled in the order of the clients."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.kernel.histories import Histories


def rows(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


# User 0 used 4, then 2. User 1 used nothing. User 2 used 0, 3 and 1 in this order.
SOME = Histories.of(rows(2, 0, 2, 0, 2), rows(3, 2, 0, 4, 1), rows(1, 1, 0, 0, 2), (3, 5))


def test_each_user_has_its_items_oldest_first():
    assert len(SOME) == 3
    assert [items.tolist() for items in SOME] == [[4, 2], [], [0, 3, 1]]
    assert SOME.steps_back.tolist() == [1, 0, 2, 1, 0]


def test_the_matrix_has_one_or_the_weight_at_each_used_item():
    assert SOME.matrix().toarray().tolist() == [[0, 0, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 1, 0]]
    weighted = SOME.matrix(np.array([0.5, 1.0, 2.0, 3.0, 4.0])).toarray()
    assert weighted.tolist() == [[0, 0, 1, 0, 0.5], [0, 0, 0, 0, 0], [2, 4, 0, 3, 0]]


def test_the_histories_of_some_users_stay_as_they_are():
    few = SOME.of_users(np.array([False, True, True]))
    assert [items.tolist() for items in few] == [[], [0, 3, 1]]
    assert (few.n_items, few.starts.tolist()) == (5, [0, 0, 3])


def test_pooled_histories_are_concatenated():
    other = Histories.of(rows(0), rows(1), rows(0), (1, 5))
    pooled = Histories.pooled([SOME, other])
    assert [items.tolist() for items in pooled] == [[4, 2], [], [0, 3, 1], [1]]
    assert pooled.n_items == 5


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        (rows(0, 3), rows(0, 1), "User rows range from 0 to 3, expected 0..2"),
        (rows(-1, 1), rows(0, 1), "User rows range from -1 to 1, expected 0..2"),
        (rows(0, 1), rows(0, 5), "Item rows range from 0 to 5, expected 0..4"),
        (rows(1, 1), rows(2, 2), "has an item twice"),
    ],
)
def test_rows_out_of_range_and_repeated_pairs_are_refused(users, items, message):
    with pytest.raises(InvalidInput, match=message):
        Histories.of(users, items, rows(0, 1), (3, 5))


def test_no_interactions_give_histories_without_items():
    empty = Histories.of(rows(), rows(), rows(), (2, 5))
    assert [items.tolist() for items in empty] == [[], []]
    assert empty.matrix().nnz == 0
