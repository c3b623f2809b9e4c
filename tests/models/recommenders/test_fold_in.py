"""Fold-in against hand arithmetic, an independent dense solution, and a world whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.federation.model import GlobalModel, ItemArrays
from models.recommenders.answer import Recommender
from models.recommenders.fold_in import FoldIn, fold_in, gram_of, scores_of, top_k


def test_one_item_of_one_dim_by_hand():
    # Weights: w = 0.5 / 2 = 0.25 everywhere and 1 for the seen item; biases around their mean: +1 and -1.
    # Left: 0.25 * 2^2 (unseen) + 1 * 1^2 (seen) + 3 = 5.
    # Right: 1 * 1 * (4 - 1) (seen) + 0.25 * 2 * (0 + 1) (unseen) = 3.5.
    how = FoldIn(target=4.0, regularisation=3.0, unseen_weight=0.5)
    user = fold_in([0], np.array([[1.0], [2.0]]), np.array([3.0, 1.0]), how)

    assert user == pytest.approx([0.7])


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

    assert fold_in(seen, items, biases) == pytest.approx(expected)
    assert fold_in(seen, items, biases, gram=gram_of(items)) == pytest.approx(expected)


def test_a_shift_of_all_biases_changes_nothing():
    rng = np.random.default_rng(1)
    items, biases = rng.normal(size=(9, 3)), rng.normal(size=9)

    assert fold_in([2], items, biases + 7.0) == pytest.approx(fold_in([2], items, biases))


def test_an_empty_history_and_equal_biases_leave_the_user_at_zero():
    assert fold_in([], np.eye(3), np.full(3, 2.0)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_outside_the_items_is_refused(row):
    with pytest.raises(InvalidInput, match="outside the 3 items"):
        fold_in([0, row], np.eye(3), np.zeros(3))


@pytest.mark.parametrize("wrong", [{"regularisation": 0.0}, {"unseen_weight": -1.0}])
def test_settings_without_a_unique_solution_are_refused(wrong):
    with pytest.raises(InvalidInput, match="positive regularisation"):
        FoldIn(**wrong)


def test_scores_are_products_plus_biases():
    scores = scores_of(np.array([2.0, 1.0]), np.array([[1.0, 0.0], [0.0, 3.0]]), np.array([0.5, -1.0]))

    assert scores.tolist() == [2.5, 2.0]


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
    model = GlobalModel(round=1, catalog_digest="c", items=items)
    return Recommender.of(model, [f"i{row}" for row in range(8)], [f"Item {row}" for row in range(8)])


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
        Recommender.of(checkerboard().model, ["i0"], ["Item 0"])
