"""Hold-outs share nothing with training, and their ranks equal those of ranking one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.evaluation.protocols import HeldOut, hold_out_share
from models.evaluation.split import split_leave_one_out
from models.kernel.histories import Histories

SHAPE = (3, 12)
USERS = np.array([0, 1, 0, 0, 1, 0, 2, 0, 1])
ITEMS = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9])
TIMES = np.array([50, 10, 40, 30, 30, 20, 10, 10, 20])


def cases(held: HeldOut):
    return list(zip(held.users.tolist(), held.items.tolist(), strict=True))


def test_the_latest_share_of_each_user_is_held_out_and_the_rest_keeps_its_order():
    held = hold_out_share(USERS, ITEMS, TIMES, SHAPE, share=0.4, by_time=True, seed=1)
    # In time user 0 has 8, 6, 4, 3, 1 and loses 2 of them, user 1 has 2, 9, 5 and loses 1, user 2 keeps all.
    assert cases(held) == [(0, 1), (0, 3), (1, 5)]
    assert [history.tolist() for history in held.histories] == [[8, 6, 4], [2, 9], [7]]


@given(seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_random_share_leaves_the_rest_in_order_of_time(seed):
    held = hold_out_share(USERS, ITEMS, TIMES, SHAPE, share=0.4, by_time=False, seed=seed)
    assert [user for user, _ in cases(held)] == [0, 0, 1]
    found = set(cases(held))
    in_time = {0: [8, 6, 4, 3, 1], 1: [2, 9, 5], 2: [7]}
    for user, history in enumerate(held.histories):
        assert history.tolist() == [item for item in in_time[user] if (user, item) not in found]


def test_random_shares_differ_by_seed_and_need_no_timestamps():
    drawn = {
        tuple(cases(hold_out_share(USERS, ITEMS, None, SHAPE, share=0.4, by_time=False, seed=seed)))
        for seed in range(20)
    }
    assert len(drawn) > 5


def test_a_repeated_pair_is_refused_wherever_it_would_be_held_out():
    users, items, times = np.array([0, 0, 0, 0]), np.array([1, 2, 3, 1]), np.arange(4)
    with pytest.raises(InvalidInput, match="User row 0 and item row 1 occur together more than once"):
        split_leave_one_out(users, items, times, 1, seed=0)
    with pytest.raises(InvalidInput, match="leak it into training"):
        hold_out_share(users, items, None, (1, 4), share=0.5, by_time=False, seed=0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        hold_out_share(USERS, ITEMS, TIMES, SHAPE, share=share, by_time=True, seed=1)


def test_holding_out_the_latest_needs_timestamps():
    with pytest.raises(InvalidInput, match="no timestamps"):
        hold_out_share(USERS, ITEMS, None, SHAPE, share=0.3, by_time=True, seed=1)


def test_ranks_equal_those_of_ranking_one_by_one_for_any_number_of_cases():
    random = np.random.default_rng(4)
    n_users, n_items = 300, 15
    scores = random.integers(0, 6, (n_users, n_items)).astype(float)  # many ties
    scores[7, 3] = np.nan
    used = [random.permutation(n_items)[: random.integers(1, 9)] for _ in range(n_users)]
    trained = [each[1:] for each in used]
    starts = np.concatenate([[0], np.cumsum([len(each) for each in trained])])
    negatives = np.full((n_users, 4), -1)
    for user, each in enumerate(used):
        free = np.setdiff1d(np.arange(n_items), each)[: user % 5]
        negatives[user, : len(free)] = free
    targets = np.array([each[0] for each in used])
    held = HeldOut(
        Histories(np.concatenate(trained), starts, n_items), np.arange(n_users), targets, negatives
    )
    ranks = held.ranks(scores)
    for user, target in enumerate(targets):
        own = scores[user, target]
        free = set(range(n_items)) - set(trained[user].tolist()) - {int(target)}
        assert ranks.full[user] == sum(not scores[user, item] < own for item in free)
        rivals = [item for item in negatives[user].tolist() if item >= 0]
        assert ranks.sampled[user] == sum(not scores[user, item] < own for item in rivals)
