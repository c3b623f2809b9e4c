"""Made-up histories, and how often items are recommended for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.recommenders.scoring.fold_in import ItemSide
from models.recommenders.scoring.lists import made_up_histories, times_listed
from models.recommenders.scoring.scorer import Factors

# Two groups of four items, which have nothing in common. In each, a higher bias means a better item.
GROUPS = np.repeat(np.eye(2, dtype=np.float32) * 4.0, 4, axis=0)
BIASES = np.tile(np.array([0.3, 0.2, 0.1, 0.0], dtype=np.float32), 2)


def scorer(biases: np.ndarray = BIASES) -> Factors:
    return Factors.of(ItemSide.of(GROUPS, biases))


def test_a_history_is_the_best_items_for_one_item_and_that_item_last():
    assert made_up_histories(scorer(), [3, 4], 3, weight=1.0) == [[1, 0, 3], [6, 5, 4]]


def test_items_that_are_not_allowed_are_in_no_history():
    allowed = np.ones(8, dtype=bool)
    allowed[0] = False
    assert made_up_histories(scorer(), [3], 3, weight=1.0, allowed=allowed) == [[2, 1, 3]]


def test_lists_are_counted_item_by_item():
    # For 3 the best two are 0 and 1, for 0 and 2 it is 1 and 3, for 4 they are 5 and 6.
    assert times_listed(scorer(), [[3], [0, 2], [4]], 2).tolist() == [1, 2, 0, 1, 0, 1, 1, 0]


def test_items_that_are_not_allowed_are_in_no_list():
    allowed = np.ones(8, dtype=bool)
    allowed[1] = False
    assert times_listed(scorer(), [[3], [0, 2], [4]], 2, allowed)[1] == 0


def test_an_item_with_a_large_bias_is_in_every_list_but_those_of_its_own_histories():
    lifted = BIASES.copy()
    lifted[7] = 50.0
    histories = [[0], [1, 2], [5], [6, 7]]
    counts = times_listed(scorer(lifted), histories, 1)
    assert (counts[7], counts.sum()) == (3, 4)


@given(
    st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=5, unique=True), max_size=6), st.integers(1, 8)
)
def test_each_list_holds_k_items_or_all_that_are_left(histories: list[list[int]], k: int):
    counts = times_listed(scorer(), histories, k)
    assert counts.sum() == sum(min(k, 8 - len(history)) for history in histories)
    assert counts.max(initial=0) <= len(histories)


@pytest.mark.parametrize("row", [-1, 8])
def test_a_row_of_no_item_is_refused(row: int):
    with pytest.raises(InvalidInput, match="outside the 8 items"):
        made_up_histories(scorer(), [row], 3, weight=1.0)
