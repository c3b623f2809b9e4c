"""Leave-one-out: no interaction is used twice, and other users' rows change nothing for a user."""

from __future__ import annotations

from collections import Counter
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.evaluation.split import Split, sample_negatives, sampled_users, split_leave_one_out
from models.kernel.seeds import seed_for

SOME_PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), unique=True, min_size=1, max_size=40)


def rows(values):
    return np.array(values, dtype=np.int32)


def pairs(users, items):
    return list(zip(users.tolist(), items.tolist(), strict=True))


def parts(split: Split):
    return [
        pairs(split.train_users, split.train_items),
        pairs(split.validation_users, split.validation_items),
        pairs(split.test_users, split.test_items),
    ]


def test_latest_is_test_and_the_one_before_is_validation():
    users = rows([1, 0, 0, 1, 0, 1, 0])
    items = rows([5, 1, 2, 6, 3, 7, 4])
    times = np.array([30, 40, 10, 10, 30, 20, 20])
    # User 0 in time: 2 (10), 4 (20), 3 (30), 1 (40). User 1: 6 (10), 7 (20), 5 (30).
    assert parts(split_leave_one_out(users, items, times, 2, seed=0)) == [
        [(0, 2), (0, 4), (1, 6)],
        [(0, 3), (1, 7)],
        [(0, 1), (1, 5)],
    ]


def test_training_interactions_keep_their_position_in_time():
    users = rows([1, 0, 0, 1, 0, 1, 0, 0])
    items = rows([5, 1, 2, 6, 3, 7, 4, 0])
    times = np.array([30, 40, 20, 10, 30, 20, 10, 25])
    # User 0 in time: 4 (10), 2 (20), 0 (25), then the held-out ones. User 1: 6 (10).
    split = split_leave_one_out(users, items, times, 2, seed=0)
    places = zip(split.train_users, split.train_items, split.train_places, strict=True)
    assert [tuple(map(int, each)) for each in places] == [(0, 0, 2), (0, 2, 1), (0, 4, 0), (1, 6, 0)]


def test_of_two_interactions_at_one_time_the_later_row_is_the_later():
    split = split_leave_one_out(rows([0, 0, 0]), rows([8, 2, 5]), np.array([1, 1, 1]), 1, seed=0)
    assert parts(split) == [[(0, 8)], [(0, 2)], [(0, 5)]]


def test_users_with_fewer_than_three_interactions_only_train():
    # User 0 has two, user 1 none, user 2 three, user 3 one.
    split = split_leave_one_out(
        rows([0, 0, 2, 2, 2, 3]), rows([1, 2, 1, 2, 3, 9]), np.array([5, 6, 1, 2, 3, 7]), 5, seed=0
    )
    assert parts(split) == [[(0, 1), (0, 2), (2, 1), (3, 9)], [(2, 2)], [(2, 3)]]


def test_a_split_of_no_interactions_is_empty():
    split = split_leave_one_out(rows([]), rows([]), None, 0, seed=0)
    assert parts(split) == [[], [], []]
    assert split.train_users.dtype == split.test_items.dtype == np.int32


def test_a_split_cannot_be_changed():
    split = split_leave_one_out(rows([0, 0, 0]), rows([0, 1, 2]), None, 1, seed=0)
    with pytest.raises(ValueError, match="read-only"):
        split.train_items[0] = 7
    with pytest.raises(FrozenInstanceError):
        split.test_users = rows([])  # type: ignore[misc]


@pytest.mark.parametrize(
    ("users", "items", "times", "message"),
    [
        ([0, 0], [1], None, "1 item rows for 2 user rows"),
        ([0, 3], [1, 2], None, "from 0 to 3, expected 0..1"),
        ([-1, 0], [1, 2], None, "from -1 to 0"),
        ([0, 0], [1, 2], [9], "1 timestamps for 2 interactions"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(users, items, times, message):
    with pytest.raises(InvalidInput, match=message):
        split_leave_one_out(rows(users), rows(items), None if times is None else np.array(times), 2, seed=0)


@given(data=SOME_PAIRS, timed=st.booleans(), order=st.randoms(), seed=st.integers(0, 2**32))
def test_each_interaction_is_in_one_part_and_row_order_is_irrelevant(data, timed, order, seed):
    when = {pair: (7 * pair[0] + 13 * pair[1]) % 101 for pair in data}  # no user has two at one time

    def split_of(some):
        users, items = (rows(column) for column in zip(*some, strict=True))
        times = np.array([when[pair] for pair in some]) if timed else None
        return split_leave_one_out(users, items, times, 5, seed)

    split = parts(split_of(data))
    assert sorted(split[0] + split[1] + split[2]) == sorted(data)
    enough = sorted(user for user, n in Counter(user for user, _ in data).items() if n >= 3)
    assert [user for user, _ in split[1]] == [user for user, _ in split[2]] == enough
    shuffled = list(data)
    order.shuffle(shuffled)
    assert parts(split_of(shuffled)) == split


def test_without_timestamps_the_held_out_item_is_uniform_and_follows_the_seed():
    users, items = np.repeat(np.arange(3000), 4), np.tile([10, 20, 30, 40], 3000)
    split = split_leave_one_out(users, items, None, 3000, seed=5)
    counts = Counter(split.test_items.tolist())
    # Each of 3000 users picks one of four: mean 750, standard deviation sqrt(3000 / 4 * 3 / 4) = 23.7.
    assert all(abs(counts[item] - 750) < 5 * 24 for item in (10, 20, 30, 40))
    again = split_leave_one_out(users, items, None, 3000, seed=5)
    other = split_leave_one_out(users, items, None, 3000, seed=6)
    assert (again.test_items == split.test_items).all()
    assert (other.test_items != split.test_items).mean() > 0.5


def test_without_timestamps_another_user_changes_nothing():
    alone = split_leave_one_out(rows([2] * 6), rows(range(6)), None, 3, seed=1)
    beside = split_leave_one_out(rows([0] * 9 + [2] * 6), rows([*range(9), *range(6)]), None, 3, seed=1)
    assert pairs(alone.test_users, alone.test_items)[0] in pairs(beside.test_users, beside.test_items)


def draw(case_users, data, n_items, n, *, seed=3, client_id="nurse", split_name="test"):
    users, items = (rows(column) for column in zip(*data, strict=True)) if data else (rows([]), rows([]))
    return sample_negatives(
        rows(case_users), users, items, n_items, n=n, seed=seed, client_id=client_id, split_name=split_name
    )


def test_too_few_unused_items_are_all_drawn_and_the_rest_is_padding():
    # User 0 used 1 and 3 of five items: 0, 2 and 4 remain. User 1 used all: nothing remains.
    drawn = draw([0, 1], [(0, 3), (0, 1), *((1, item) for item in range(5))], n_items=5, n=4)
    assert drawn.dtype == np.int32
    assert sorted(drawn[0, :3].tolist()) == [0, 2, 4]
    assert drawn[0, 3] == -1
    assert drawn[1].tolist() == [-1] * 4


def test_duplicate_interactions_count_once():
    assert sorted(draw([0], [(0, 1), (0, 1)], n_items=3, n=2)[0].tolist()) == [0, 2]


@settings(deadline=None)
@given(data=SOME_PAIRS, n=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_negatives_are_distinct_items_that_the_user_never_used(data, n, seed):
    drawn = draw(range(5), data, n_items=10, n=n, seed=seed)
    for user in range(5):
        used = {item for owner, item in data if owner == user}
        given_items = [item for item in drawn[user].tolist() if item != -1]
        assert len(given_items) == len(set(given_items)) == min(n, 10 - len(used))
        assert not used & set(given_items)
        assert set(given_items) <= set(range(10))


MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def splitmix64(state: int) -> int:
    """Return SplitMix64's output at a state, in whole numbers (Steele, Lea & Flood 2014, figure 16)."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def floyd(unused: list[int], n: int, key: int) -> list[int]:
    """Return up to n of the unused items by Floyd's algorithm, one step after another (Bentley 1987)."""
    taken: list[int] = []
    for step in range(n):
        last = len(unused) - n + step
        if last >= 0:
            uniform = (splitmix64((key + GOLDEN * (step + 1)) & MASK) >> 11) * 2.0**-53
            drawn = int(uniform * (last + 1))
            taken.append(last if drawn in taken else drawn)
    return [unused[place] for place in reversed(taken)]


@settings(deadline=None)
@given(data=SOME_PAIRS, n=st.integers(1, 25), n_items=st.integers(10, 40), seed=st.integers(0, 2**32))
def test_negatives_are_drawn_by_floyd_s_algorithm(data, n, n_items, seed):
    drawn = draw(range(5), data, n_items=n_items, n=n, seed=seed)
    base = seed_for(seed, "negatives", "nurse", "test")
    for user in range(5):
        unused = sorted(set(range(n_items)) - {item for owner, item in data if owner == user})
        expected = floyd(unused, n, splitmix64((base + GOLDEN * (user + 1)) & MASK))
        assert drawn[user].tolist() == expected + [-1] * (n - len(expected))


def test_every_unused_item_is_equally_likely():
    users = np.arange(20000)
    drawn = sample_negatives(
        users, np.repeat(users, 2), np.tile([3, 7], 20000), 12, n=4, seed=0, client_id="a", split_name="t"
    )
    counts = np.bincount(drawn.ravel(), minlength=12)
    # Four of ten unused items: mean 8000, standard deviation sqrt(20000 * .4 * .6) = 69.
    assert counts[3] == counts[7] == 0
    assert np.abs(np.delete(counts, [3, 7]) - 8000).max() < 5 * 70


def test_a_user_s_negatives_depend_on_no_other_user():
    alone = draw([4], [(4, 1), (4, 2)], n_items=1000, n=20)
    crowd = draw([0, 2, 4], [(0, 5), (2, 1), (4, 1), (4, 2)], n_items=1000, n=20)
    assert (crowd[2] == alone[0]).all()
    assert (crowd[0] != crowd[2]).any()


@pytest.mark.parametrize("scope", [{"seed": 4}, {"client_id": "artist"}, {"split_name": "validation"}])
def test_seed_client_and_split_draw_separately(scope):
    first = set(draw([0], [(0, 0)], n_items=10_000, n=50)[0].tolist())
    second = set(draw([0], [(0, 0)], n_items=10_000, n=50, **scope)[0].tolist())
    # 50 of 10,000 twice: 0.25 common items are expected.
    assert len(first & second) < 5


def test_negatives_of_many_cases_are_drawn_in_parts_that_fit_together():
    users = np.arange(5000)
    drawn = sample_negatives(users, users, users % 7, 50, n=3, seed=1, client_id="a", split_name="t")
    tail = sample_negatives(users[4990:], users, users % 7, 50, n=3, seed=1, client_id="a", split_name="t")
    assert (drawn[4990:] == tail).all()


@pytest.mark.parametrize("item", [-1, 5])
def test_an_item_outside_the_catalogue_is_refused(item):
    with pytest.raises(InvalidInput, match=r"expected 0\.\.4"):
        draw([0], [(0, item)], n_items=5, n=2)


def test_no_cases_give_no_rows():
    assert draw([], [], n_items=5, n=2).shape == (0, 2)


def test_a_sample_of_users_depends_on_no_other_user_and_is_in_every_larger_one():
    names = [f"u{row}" for row in range(2_000)]
    some, more = sampled_users(names, 0.1, 3), sampled_users(names, 0.3, 3)
    assert not (some & ~more).any()
    assert sampled_users(names[::-7], 0.1, 3).tolist() == some[::-7].tolist()
    # Four standard deviations of a binomial distribution.
    assert abs(some.sum() - 200) < 4 * (2_000 * 0.1 * 0.9) ** 0.5
    assert sampled_users(names, 0.1, 4).tolist() != some.tolist()
    assert sampled_users(names, 1.0, 3).all()


def test_numbers_of_users_keep_their_draws_when_a_row_changes():
    """With numbers, user 2's held-out interactions and negatives are the same in row 0 as in row 2."""
    numbers = np.array([11, 12, 13], dtype=np.uint64)
    own, others = rows(range(9)), rows([*range(9), *range(9)])
    owners = rows([0] * 9 + [1] * 9 + [2] * 9)
    together = split_leave_one_out(owners, np.concatenate([others, own]), None, 3, 1, numbers)
    alone = split_leave_one_out(rows([0] * 9), own, None, 1, 1, numbers[2:])
    assert parts(alone)[2] == [(0, together.test_items[2])]
    assert parts(alone)[1] == [(0, together.validation_items[2])]
    drawn = {"n_items": 900, "n": 20, "seed": 1, "client_id": "a", "split_name": "test"}
    first = sample_negatives(rows([2]), owners, np.concatenate([others, own]), **drawn, numbers=numbers)
    second = sample_negatives(rows([0]), rows([0] * 9), own, **drawn, numbers=numbers[2:])
    assert np.array_equal(first, second)
    by_row = sample_negatives(rows([0]), rows([0] * 9), own, **drawn)
    assert not np.array_equal(second, by_row)
