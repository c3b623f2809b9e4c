"""Ties count against the model between held-out and other items, never among a user's own held-out items."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.protocols import HeldOut
from models.evaluation.ranking import HeldOutRanks, held_out_ranks
from models.evaluation.user_sums import share_values
from models.kernel.histories import Histories

NONE = np.array([], dtype=np.int64)


def ranks_of(
    scores: list[list[float]],
    users: list[int],
    items: list[int],
    trained: tuple[np.ndarray, np.ndarray] = (NONE, NONE),
    at_once: int = 256,
) -> HeldOutRanks:
    table = np.array(scores)
    return held_out_ranks(
        table.__getitem__,
        table.shape[1],
        case_users=np.array(users),
        case_items=np.array(items),
        train_users=trained[0],
        train_items=trained[1],
        negatives=np.empty((len(users), 0), dtype=np.int32),
        users_at_once=at_once,
    )


def ndcg_recall_precision(scores: list[float], held: list[int]) -> list[float]:
    """Return NDCG@10, recall@20 and average precision of one user."""
    ranks = ranks_of([scores], [0] * len(held), held)
    return share_values(ranks.full, np.zeros(len(held), dtype=int))[0][0].tolist()


def test_eleven_held_out_items_that_tie_at_the_top_are_a_perfect_list():
    scores = [1.0] * 11 + [0.0] * 9
    assert ndcg_recall_precision(scores, list(range(11))) == [1.0, 1.0, 1.0]


def test_a_tie_with_another_item_counts_against_the_model():
    # Items 0 and 1 are held out and tie with item 2. The worst order is 2, 0, 1: ranks 1 and 2 of 0, 1, 2, 3.
    assert sorted(ranks_of([[5.0, 5.0, 5.0, 1.0]], [0, 0], [0, 1]).full.tolist()) == [1, 2]
    ndcg, recall, precision = ndcg_recall_precision([5.0, 5.0, 5.0, 1.0], [0, 1])
    assert ndcg == pytest.approx((1 / math.log2(3) + 1 / 2) / (1 + 1 / math.log2(3)))
    assert recall == 1.0
    assert precision == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_model_of_one_score_ranks_all_held_out_items_behind_all_others():
    ranks = ranks_of([[0.0] * 6], [0, 0, 0], [1, 3, 5])
    assert sorted(ranks.full.tolist()) == [3, 4, 5]


def test_two_groups_of_ties_by_hand():
    # Held out are 0, 1 (score 3), 3 (2) and 4 (1). Others: 2 (3), 5 (2), 6 (2). In training, so masked: 7.
    scores = [[3.0, 3.0, 3.0, 2.0, 1.0, 2.0, 2.0, 9.0]]
    trained = (np.array([0]), np.array([7]))
    # The worst order is 2, 0, 1, 5, 6, 3, 4.
    assert sorted(ranks_of(scores, [0, 0, 0, 0], [4, 0, 3, 1], trained).full.tolist()) == [1, 2, 5, 6]


def test_users_do_not_share_their_held_out_items():
    # Item 1 is held out for user 0 only, so it counts against user 1.
    scores = [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]
    assert sorted(ranks_of(scores, [0, 0, 1], [0, 1, 0]).full.tolist()[:2]) == [0, 1]
    assert ranks_of(scores, [0, 0, 1], [0, 1, 0]).full[2] == 1


def test_a_held_out_item_without_a_score_is_last_even_among_the_own():
    ranks = ranks_of([[math.nan, 2.0, 1.0, 3.0]], [0, 0], [0, 1])
    # Item 3 is ahead of item 1. Items 3 and 2, and the user's item 1, are ahead of item 0.
    assert ranks.full.tolist() == [3, 1]


# A few scores, so that ties are frequent, and one that is not a number.
SCORES = st.sampled_from([0.0, 1.0, 2.0, math.nan])


@st.composite
def users(draw):
    """Return the scores of six items for one user, those held out, and those in training."""
    scores = draw(st.lists(SCORES, min_size=6, max_size=6))
    roles = draw(st.lists(st.sampled_from(["held out", "other", "training"]), min_size=6, max_size=6))
    roles[draw(st.integers(0, 5))] = "held out"
    return scores, [row for row in range(6) if roles[row] == "held out"], roles


def every_order(scores: list[float], roles: list[str]) -> list[list[int]]:
    """Return all orders of the items outside training in which none is ahead of one with a higher score."""
    without_score = {"held out": -math.inf, "other": math.inf}
    value = {
        row: without_score[role] if math.isnan(score) else score
        for row, (score, role) in enumerate(zip(scores, roles, strict=True))
        if role != "training"
    }
    return [list(o) for o in permutations(value) if all(value[a] >= value[b] for a, b in pairwise(o))]


def plain_metrics(order: list[int], held: list[int]) -> list[float]:
    """Return NDCG@10, recall@20 and average precision of a list, from their definitions."""
    gains = [1.0 if row in held else 0.0 for row in order]
    dcg = sum(gain / math.log2(place + 2) for place, gain in enumerate(gains[:10]))
    ideal = sum(1 / math.log2(place + 2) for place in range(min(len(held), 10)))
    precision = sum(sum(gains[: place + 1]) / (place + 1) for place, gain in enumerate(gains) if gain)
    return [dcg / ideal, sum(gains[:20]) / len(held), precision / len(held)]


@settings(deadline=None)
@given(users())
def test_each_metric_is_that_of_the_worst_order_of_the_ties(user):
    scores, held, roles = user
    training = np.array([row for row in range(6) if roles[row] == "training"], dtype=int)
    ranks = ranks_of([scores], [0] * len(held), held, (np.zeros(len(training), dtype=int), training))
    found = share_values(ranks.full, np.zeros(len(held), dtype=int))[0][0]
    possible = np.array([plain_metrics(order, held) for order in every_order(scores, roles)])
    assert found == pytest.approx(possible.min(axis=0))
    assert (found <= possible.max(axis=0) + 1e-12).all()


@settings(deadline=None)
@given(users(), st.permutations(range(6)), st.integers(1, 3), st.randoms())
def test_the_order_of_items_and_cases_is_irrelevant(user, moved_to, at_once, random):
    scores, held, roles = user
    training = np.array([row for row in range(6) if roles[row] == "training"], dtype=int)
    zeros = np.zeros(len(training), dtype=int)
    one = ranks_of([scores], [0] * len(held), held, (zeros, training)).full
    moved = [0.0] * 6
    for row, score in enumerate(scores):
        moved[moved_to[row]] = score
    cases = [moved_to[row] for row in held]
    random.shuffle(cases)
    trained = np.array([moved_to[row] for row in training], dtype=int)
    other = ranks_of([moved], [0] * len(held), cases, (zeros, trained), at_once).full
    assert sorted(one.tolist()) == sorted(other.tolist())
    # Whatever the ties, a user's items stand on different places.
    assert len(set(one.tolist())) == len(held)


def test_the_cases_of_a_protocol_follow_the_same_rule():
    histories = Histories(np.array([3, 0]), np.array([0, 1, 2]), 4)
    held = HeldOut(histories, np.array([0, 0, 1]), np.array([0, 1, 3]), np.empty((3, 0), dtype=np.int32))
    ranks = held.ranks(np.ones((2, 4)))
    # User 0: item 2 is ahead of 0 and 1. User 1: items 1 and 2 are ahead of 3.
    assert sorted(ranks.full[:2].tolist()) == [1, 2]
    assert ranks.full[2] == 2
