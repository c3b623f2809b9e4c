"""What one user changes in the sums has a known length, and the sums do not depend on who holds the users."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.kernel.histories import Histories
from models.recommenders.items.unit_pairs import STEP, matrix_of
from models.recommenders.private.near_pairs import near_matrix
from models.recommenders.private.spec import DpItemsSpec
from models.recommenders.private.statistics import (
    PairSums,
    no_pairs,
    pair_sums,
    popularity_sums,
)

ITEMS, CONTENTS = 12, 3
PAIRED = np.array([0, 1, 2, 5, 6, 7, 9])
BASIS = np.linalg.qr(np.random.default_rng(7).standard_normal((ITEMS, CONTENTS)))[0]

used_items = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=ITEMS)
specs = st.builds(
    DpItemsSpec,
    content_norm=st.sampled_from([0.05, 0.3, 0.6, 1.0]),
    nearness=st.sampled_from([0.0, 0.4, 1.0, 3.0]),
)


def histories(users: list[list[int]]) -> Histories:
    starts = np.cumsum([0, *map(len, users)])
    return Histories(np.array([*chain(*users)], dtype=np.int64), starts.astype(np.int64), ITEMS)


def length_of_change(before: np.ndarray, after: np.ndarray) -> float:
    return float(np.linalg.norm(after.astype(np.float64) - before.astype(np.float64)))


@settings(max_examples=200)
@given(others=st.lists(used_items, max_size=4), user=used_items, spec=specs)
def test_a_user_changes_each_sum_by_no_more_than_its_bound(others, user, spec):
    before, after = histories(others), histories([*others, user])
    assert length_of_change(popularity_sums(before).popularity, popularity_sums(after).popularity) <= 1.0
    old, new = (pair_sums(spec, each, PAIRED, BASIS) for each in (before, after))
    assert length_of_change(old.pairs, new.pairs) <= 1.0
    assert length_of_change(old.content, new.content) <= spec.content_norm**2
    assert length_of_change(old.users, new.users) == 1.0


def test_the_bounds_are_nearly_reached_so_that_no_noise_is_wasted():
    nobody, user = histories([]), histories([PAIRED.tolist()])
    assert length_of_change(popularity_sums(nobody).popularity, popularity_sums(user).popularity) > 0.999
    sums = pair_sums(DpItemsSpec(content_norm=0.3), user, PAIRED, BASIS)
    assert np.linalg.norm(sums.pairs) > 0.998
    assert np.linalg.norm(sums.content) > 0.99 * 0.3**2


def test_the_sums_are_those_of_their_definition():
    users = [[3, 1, 2], [5], [], [9, 0, 6, 7, 1]]
    popularity, pairs, content = np.zeros(ITEMS), np.zeros((7, 7)), np.zeros((CONTENTS, CONTENTS))
    for used in users:
        x = np.zeros(ITEMS)
        x[used] = 1.0
        popularity += x / max(np.linalg.norm(x), 1.0)
        places = [PAIRED.tolist().index(item) for item in used if item in PAIRED]
        own = np.zeros((7, 7))
        for back, one in enumerate(places):
            for ahead, two in enumerate(places):
                own[one, two] = (abs(ahead - back) + 1.0) ** -0.7 if one != two else 0.0
        pairs += own / max(np.linalg.norm(own), 1e-12)
        w = np.zeros(ITEMS)
        w[used] = np.arange(len(used), 0.0, -1.0) ** -0.7
        p = BASIS.T @ w / max(np.linalg.norm(w), 1e-12)
        p *= min(1.0, 0.4 / max(np.linalg.norm(p), 1e-12))
        content += np.outer(p, p)
    found = pair_sums(DpItemsSpec(content_norm=0.4, nearness=0.7), histories(users), PAIRED, BASIS)
    within = len(users) * STEP
    np.testing.assert_allclose(popularity_sums(histories(users)).popularity, popularity, atol=within)
    np.testing.assert_allclose(near_matrix(found.pairs, len(PAIRED)), pairs, atol=within)
    assert found.users == [4]
    np.testing.assert_allclose(matrix_of(found.content, CONTENTS), content, atol=within)


@settings(max_examples=50)
@given(users=st.lists(used_items, max_size=6), cut=st.integers(0, 6), spec=specs)
def test_sums_of_parts_are_the_sums_of_all_to_the_bit(users, cut, spec):
    parts, whole = [histories(users[:cut]), histories(users[cut:])], histories(users)
    first, second = (popularity_sums(each).popularity for each in parts)
    assert (first + second).tobytes() == popularity_sums(whole).popularity.tobytes()
    one, two = (pair_sums(spec, each, PAIRED, BASIS) for each in parts)
    expected = pair_sums(spec, whole, PAIRED, BASIS)
    for name in PairSums.names():
        total = getattr(one, name) + getattr(two, name) + 0.0
        np.testing.assert_array_equal(total, getattr(expected, name), err_msg=name)
        steps = getattr(expected, name) / STEP
        np.testing.assert_array_equal(steps, np.rint(steps))


def test_sums_over_no_users_have_the_same_shapes():
    found, expected = no_pairs(CONTENTS, len(PAIRED)), pair_sums(DpItemsSpec(), histories([]), PAIRED, BASIS)
    for name in PairSums.names():
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("users", [5000])
def test_many_users_are_added_in_parts(users):
    many = histories([[user % ITEMS, (user + 1) % ITEMS] for user in range(users)])
    first = many.of_users(np.arange(users) < users // 2)
    second = many.of_users(np.arange(users) >= users // 2)
    one, two, both = (pair_sums(DpItemsSpec(), each, PAIRED, BASIS) for each in (first, second, many))
    np.testing.assert_array_equal(one.content + two.content, both.content)


def test_items_used_near_each_other_and_lately_count_more():
    user = histories([[0, 1, 2, 5]])
    near, even = (
        pair_sums(DpItemsSpec(nearness=nearness, content_norm=1.0), user, PAIRED, BASIS)
        for nearness in (1.0, 0.0)
    )
    pairs, alike = (near_matrix(sums.pairs, len(PAIRED)) for sums in (near, even))
    assert pairs[0, 1] == pairs[1, 2] > alike[0, 1] == alike[0, 3] > pairs[0, 3]
    contents = matrix_of(near.content, CONTENTS)
    latest = BASIS[5] @ contents @ BASIS[5] / (BASIS[5] @ BASIS[5])
    assert latest > BASIS[5] @ matrix_of(even.content, CONTENTS) @ BASIS[5] / (BASIS[5] @ BASIS[5])
