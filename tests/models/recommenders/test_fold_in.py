"""Fold-in against hand arithmetic, an independent dense solution, and a world whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.federation.model import ItemArrays
from models.recommenders.answer import Recommender
from models.recommenders.fold_in import FoldIn, ItemSide, fold_in, top_k


def test_one_item_of_one_dim_by_hand():
    # Weights: w = 0.5 / 2 = 0.25 everywhere and 1 for the seen item; biases around their mean: +1 and -1.
    # Left: 0.25 * 2^2 (unseen) + 1 * 1^2 (seen) + 3 = 5.
    # Right: 1 * 1 * (4 - 1) (seen) + 0.25 * 2 * (0 + 1) (unseen) = 3.5.
    how = FoldIn(target=4.0, regularisation=3.0, unseen_weight=0.5)
    user = fold_in([0], ItemSide.of(np.array([[1.0], [2.0]]), np.array([3.0, 1.0])), how)

    assert user.vector == pytest.approx([0.7])
    # Without the seen item's 1 * (4 - 1) and with -0.25 * 1 for it as an unseen one: right 0.25, left 5.
    assert user.general == pytest.approx([0.25 / 5])
    assert user.parts == pytest.approx(np.array([[3.25 / 5]]))


def test_it_is_the_weighted_ridge_regression_of_targets_on_items():
    rng = np.random.default_rng(5)
    items, biases = rng.normal(size=(40, 6)), rng.normal(size=40)
    seen = [3, 17, 30]
    # Independent: ordinary least squares on rows scaled by the root of their weight, and penalty rows.
    weights = np.full(40, 5.0 / 40)
    weights[seen] = 1.0
    targets = np.where(np.isin(np.arange(40), seen), 4.0, 0.0) - (biases - biases.mean())
    stacked = np.vstack([items * np.sqrt(weights)[:, None], np.sqrt(10.0) * np.eye(6)])
    answer = np.concatenate([targets * np.sqrt(weights), np.zeros(6)])
    expected = np.linalg.lstsq(stacked, answer, rcond=None)[0]

    assert fold_in(seen, ItemSide.of(items, biases)).vector == pytest.approx(expected)


def test_a_weight_is_an_item_s_weight_in_that_regression():
    rng = np.random.default_rng(6)
    items, biases = rng.normal(size=(30, 4)), rng.normal(size=30)
    seen, given = [2, 9, 21], [0.5, 3.0, 1.0]
    weights = np.full(30, 5.0 / 30)
    weights[seen] = given
    targets = np.where(np.isin(np.arange(30), seen), 4.0, 0.0) - (biases - biases.mean())
    stacked = np.vstack([items * np.sqrt(weights)[:, None], np.sqrt(10.0) * np.eye(4)])
    answer = np.concatenate([targets * np.sqrt(weights), np.zeros(4)])
    expected = np.linalg.lstsq(stacked, answer, rcond=None)[0]

    assert fold_in(seen, ItemSide.of(items, biases), weights=given).vector == pytest.approx(expected)


@pytest.mark.parametrize(
    "weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]]
)
def test_weights_must_be_positive_and_one_for_each_item(weights):
    with pytest.raises(InvalidInput, match="positive, finite weight"):
        fold_in([0, 1], ItemSide.of(np.eye(3), np.zeros(3)), weights=weights)


def test_a_shift_of_all_biases_changes_nothing():
    rng = np.random.default_rng(1)
    items, biases = rng.normal(size=(9, 3)), rng.normal(size=9)

    shifted = fold_in([2], ItemSide.of(items, biases + 7.0)).vector
    assert shifted == pytest.approx(fold_in([2], ItemSide.of(items, biases)).vector)


def test_an_empty_history_and_equal_biases_leave_the_user_at_zero():
    assert fold_in([], ItemSide.of(np.eye(3), np.full(3, 2.0))).vector.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_outside_the_items_is_refused(row):
    with pytest.raises(InvalidInput, match="outside the 3 items"):
        fold_in([0, row], ItemSide.of(np.eye(3), np.zeros(3)))


@pytest.mark.parametrize("wrong", [{"regularisation": 0.0}, {"unseen_weight": -1.0}])
def test_settings_without_a_unique_solution_are_refused(wrong):
    with pytest.raises(InvalidInput, match="positive regularisation"):
        FoldIn(**wrong)


def test_scores_are_products_plus_biases():
    side = ItemSide.of(np.array([[1.0, 0.0], [0.0, 3.0]]), np.array([0.5, -1.0]))

    assert side.scores(np.array([2.0, 1.0])).tolist() == [2.5, 2.0]


def test_the_highest_scores_come_first_and_ties_go_by_row():
    scores = np.array([1.0, 5.0, 3.0, 5.0, 3.0, 3.0])

    assert top_k(scores, 4).tolist() == [1, 3, 2, 4]
    assert top_k(scores, 3, exclude=[1]).tolist() == [3, 2, 4]
    assert top_k(scores, 9, exclude=[0, 1, 2, 3]).tolist() == [4, 5]
    assert top_k(scores, 1, exclude=range(6)).tolist() == []


def test_k_must_be_positive():
    with pytest.raises(InvalidInput, match="at least 1, got 0"):
        top_k(np.zeros(3), 0)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 35))
def test_top_k_is_the_head_of_a_stable_sort(values, k):
    expected = sorted(range(len(values)), key=lambda row: (-values[row], row))[:k]

    assert top_k(np.array(values, dtype=float), k).tolist() == expected


def checkerboard() -> Recommender:
    """Eight items in two blocks that point in different directions, the other block more popular."""
    embeddings = np.array([[1, 0.1], [0.1, 1]] * 4, dtype=np.float32)
    zeros = np.zeros((8, 2), dtype=np.float32)
    items = ItemArrays(
        embeddings=embeddings,
        biases=np.array([0.0, 0.2] * 4, dtype=np.float32),
        embedding_accumulators=zeros,
        bias_accumulators=np.zeros(8, dtype=np.float32),
    )
    return Recommender.of(items, [f"i{row}" for row in range(8)], [f"Item {row}" for row in range(8)])


@pytest.mark.parametrize(("history", "same_block"), [([0, 2], ["i4", "i6"]), ([5, 3], ["i1", "i7"])])
def test_items_of_the_same_block_rank_first(history, same_block):
    answer = checkerboard().recommend(history, 2)

    assert [one.item_id for one in answer] == same_block
    assert [one.rank for one in answer] == [1, 2]
    assert answer[0].title == f"Item {same_block[0][1]}"
    assert answer[0].score >= answer[1].score


def test_history_and_excluded_items_are_not_recommended():
    answer = checkerboard().recommend([0, 2], 8, exclude=[4])

    assert sorted(one.item_id for one in answer) == ["i1", "i3", "i5", "i6", "i7"]


def test_golden_scores_cover_three_histories():
    recommender = checkerboard()

    golden = recommender.golden_scores()
    assert golden.shape == (24,)
    assert golden[8:16].tolist() == recommender.scores([4]).tolist()
    assert golden[16:].tolist() == recommender.scores([0, 4]).tolist()


def test_ids_and_titles_must_fit_the_rows():
    with pytest.raises(InvalidInput, match="model of 8 items"):
        Recommender.of(checkerboard().scorer.side, ["i0"], ["Item 0"])


def test_only_allowed_items_are_recommended():
    allowed = np.arange(8) % 2 == 1

    answer = checkerboard().recommend([0, 1], 8, exclude=[3], allowed=allowed)

    assert sorted(one.item_id for one in answer) == ["i5", "i7"]


def test_a_diverse_answer_reaches_the_other_block():
    plain = checkerboard().recommend([0], 3)
    diverse = checkerboard().recommend([0], 3, diversity=0.7)

    assert [one.item_id for one in plain] == ["i2", "i4", "i6"]
    assert diverse[0].item_id == "i2"
    assert {"i1", "i3", "i5", "i7"} & {one.item_id for one in diverse}


def test_reasons_name_the_item_of_the_same_block():
    answer = checkerboard().recommend([0, 1], 4, reasons=1)

    for one in answer:
        same_block = 0 if int(one.item_id[1]) % 2 == 0 else 1
        assert one.because[0].row == same_block
        assert sum(reason.share for reason in one.because) == pytest.approx(1.0)


def test_an_empty_history_gets_what_is_popular():
    assert [one.item_id for one in checkerboard().recommend([], 4)] == ["i1", "i3", "i5", "i7"]


def test_similar_items_point_the_same_way():
    answer = checkerboard().similar(2, 4)

    assert [one.item_id for one in answer[:3]] == ["i0", "i4", "i6"]
    assert answer[0].similarity == pytest.approx(1.0)
    # (1, .1) and (.1, 1): cosine .2 / 1.01.
    assert answer[3].similarity == pytest.approx(0.2 / 1.01)


def test_an_item_at_zero_is_like_no_other():
    side = ItemSide.of(np.array([[0.0, 0.0], [1.0, 0.0]]), np.zeros(2))

    assert Recommender.of(side, ["a", "b"], ["A", "B"]).similar(0, 1)[0].similarity == 0.0


@given(st.integers(0, 2**32 - 1), st.integers(1, 1500), st.integers(1, 3000))
def test_top_k_of_many_items_is_the_head_of_a_stable_sort(seed, k, items):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 50, items).astype(np.float32)
    allowed = random.random(items) < 0.5

    left = [row for row in range(items) if allowed[row] and row != 0]
    expected = sorted(left, key=lambda row: (-scores[row], row))[:k]
    assert top_k(scores, k, exclude=[0], allowed=allowed).tolist() == expected
