"""Reasons by hand arithmetic, and the law that shares add up to one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.recommenders.scoring.fold_in import FoldedUser, ItemSide, fold_in
from models.recommenders.scoring.reasons import Reason, reasons_for

# Four items of two dims, mean embedding (1, 1), biases 1, 0, 0 and -1 around their mean 0.
SIDE = ItemSide.of(
    np.array([[2.0, 0.0], [0.0, 2.0], [2.0, 2.0], [0.0, 0.0]]), np.array([1.0, 0.0, 0.0, -1.0])
)
MEAN = np.array([1.0, 1.0])


def test_shares_by_hand():
    # Row 0 lies (1, -1) above the mean. History row 1 lifts it by 3, row 3 by -2, and its bias by 1.
    user = FoldedUser(parts=np.array([[3.0, 0.0], [0.0, 2.0]]))

    ((first, second),) = reasons_for([0], [1, 3], user, SIDE, MEAN, most=3)

    assert first == Reason(row=1, kind="history", share=0.75)
    assert second == Reason(row=None, kind="popularity", share=0.25)


def test_reasons_that_are_not_named_are_one_share():
    user = FoldedUser(parts=np.array([[5.0, 0.0], [2.0, 0.0]]))

    ((named, others),) = reasons_for([0], [1, 3], user, SIDE, MEAN, most=1)

    assert named == Reason(row=1, kind="history", share=0.625)
    assert others == Reason(row=None, kind="others", share=0.375)


def test_an_item_that_no_reason_lifts_has_only_the_remainder():
    # Row 3 lies (-1, -1) above the mean, and its bias is the lowest.
    user = FoldedUser(parts=np.array([[1.0, 0.0]]))

    assert reasons_for([3], [1], user, SIDE, MEAN, most=3) == [(Reason(None, "popularity", 1.0),)]


def test_a_bias_counts_as_popularity():
    side = ItemSide.of(np.zeros((3, 2)), np.array([3.0, 0.0, 0.0]))
    user = fold_in([1], side)

    assert reasons_for([0], [1], user, side, np.zeros(2), most=3) == [(Reason(None, "popularity", 1.0),)]


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(1, 4))
def test_shares_are_positive_and_add_up_to_one(seed, history, most):
    rng = np.random.default_rng(seed)
    side = ItemSide.of(rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=20).astype(np.float32))
    rows = list(range(history))
    user = fold_in(rows, side)

    for reasons in reasons_for([10, 15], rows, user, side, side.embeddings.mean(axis=0), most):
        assert sum(reason.share for reason in reasons) == pytest.approx(1.0)
        assert all(0.0 < reason.share <= 1.0 for reason in reasons)
        assert len(reasons) <= most + 1
        named = [reason.share for reason in reasons if reason.kind != "others"]
        assert named == sorted(named, reverse=True)


def test_what_no_item_of_the_history_explains_belongs_to_the_others():
    # Row 0 lies (1, -1) above the mean and its bias lifts it by 1. The trained vector is (7, 2): besides the
    # part (3, 0) there is (4, 2), which lifts it by 4 - 2.
    user = FoldedUser.trained(np.array([7.0, 2.0]), np.array([[3.0, 0.0]]))

    assert user.vector.tolist() == [7.0, 2.0]
    ((first, second, others),) = reasons_for([0], [1], user, SIDE, MEAN, most=3)
    assert first == Reason(row=1, kind="history", share=0.5)
    assert second == Reason(row=None, kind="popularity", share=1 / 6)
    assert (others.row, others.kind) == (None, "others")
    assert others.share == pytest.approx(1 / 3)


def test_an_item_that_only_the_remainder_lifts_has_the_others_as_its_reason():
    user = FoldedUser(np.empty((0, 2)), rest=np.array([0.0, 5.0]))

    assert reasons_for([1], [], user, SIDE, MEAN, most=3) == [(Reason(None, "others", 1.0),)]
