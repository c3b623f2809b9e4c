"""Diverse answers compared with a choice made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.recommenders.scoring.diversity import diversified

ROWS = np.array([7, 4, 9, 2])
SCORES = np.array([4.0, 3.9, 3.0, 0.0])
# The second is the twin of the first. The third points elsewhere, the last against the first.
DIRECTIONS = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])


def test_zero_diversity_is_the_order_of_scores():
    assert diversified(ROWS, SCORES, DIRECTIONS, 3, 0.0).tolist() == [7, 4, 9]


def test_a_twin_is_replaced_by_another_direction():
    # At 0.5, after row 7: row 4 gains .5 * .975 - .5 * 1 < 0, row 9 .5 * .75 - 0 = .375, row 2 0 + .5 = .5.
    # Then row 4: .4875 - .5 < 0; row 9: .375 - .5 * max(0, 0) = .375.
    assert diversified(ROWS, SCORES, DIRECTIONS, 3, 0.5).tolist() == [7, 2, 9]


def test_the_most_different_item_comes_next_at_full_diversity():
    assert diversified(ROWS, SCORES, DIRECTIONS, 2, 1.0).tolist() == [7, 2]


def test_all_items_are_returned_if_fewer_are_left_and_equal_scores_keep_their_order():
    assert diversified(ROWS, np.ones(4), np.zeros((4, 2)), 9, 0.5).tolist() == ROWS.tolist()
    assert diversified(ROWS[:0], SCORES[:0], DIRECTIONS[:0], 3, 0.5).tolist() == []


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(wrong):
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        diversified(ROWS, SCORES, DIRECTIONS, 2, wrong)
