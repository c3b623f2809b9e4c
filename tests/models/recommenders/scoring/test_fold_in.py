"""Fold-in by hand arithmetic, by differentiating its definition, and in a world whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.federation.model import ItemArrays
from models.recommenders.scoring.fold_in import FoldIn, ItemSide, fold_in, top_k
from models.recommenders.scoring.recommender import Recommender


def test_one_item_of_one_dim_by_hand():
    # exp(b / 2): 1 and 3, so the popularities are 1/4 and 3/4, the mean is 1.75 and the variance 3/16.
    side = ItemSide.of(np.array([[1.0], [2.0]]), np.array([0.0, 2 * np.log(3.0)]))
    user = fold_in([0], side, FoldIn(regularisation=1.3125))

    assert side.mean == pytest.approx([1.75])
    assert side.variances == pytest.approx([3 / 16])
    # (1 - 1.75) / (3/16 + 1.3125)
    assert user.vector == pytest.approx([-0.5])


def log_posterior(x, items, popularity, seen, counts, precision):
    """Return the log posterior of the multinomial model that `fold_in` names, term by term."""
    scores = items @ x + np.log(popularity)
    log_shares = scores - np.log(np.exp(scores).sum())
    return float(counts @ log_shares[seen] - precision / 2 * (x @ x))


@pytest.mark.parametrize("counts", [[1.0, 1.0, 1.0], [0.5, 3.0, 1.0]])
def test_fold_in_is_a_newton_step_of_the_log_posterior(counts):
    rng = np.random.default_rng(5)
    items, biases = rng.normal(size=(30, 4)), rng.normal(size=30)
    seen = [2, 9, 21]
    popularity = np.exp(biases / 2) / np.exp(biases / 2).sum()

    def value(x):
        return log_posterior(x, items, popularity, seen, np.array(counts), 3.0)

    # Independent of the code: gradient and Hessian at zero by central differences.
    step, axes = 1e-3, np.eye(4)
    gradient = np.array([(value(step * a) - value(-step * a)) / (2 * step) for a in axes])
    hessian = np.array(
        [
            [
                sum(s * t * value(step * (s * a + t * c)) for s in (1, -1) for t in (1, -1)) / (4 * step**2)
                for c in axes
            ]
            for a in axes
        ]
    )
    expected = -np.linalg.solve(hessian, gradient)

    user = fold_in(seen, ItemSide.of(items, biases), weights=counts)
    assert user.vector == pytest.approx(expected, rel=1e-4)


def test_an_item_s_part_does_not_depend_on_the_other_items():
    rng = np.random.default_rng(8)
    side = ItemSide.of(rng.normal(size=(9, 3)), rng.normal(size=9))

    one, other = fold_in([4, 1], side).parts, fold_in([7, 4], side).parts
    assert one[0] == pytest.approx(other[1])


def test_more_items_than_are_read_at_once_are_all_counted(monkeypatch):
    rng = np.random.default_rng(6)
    items, biases = rng.normal(size=(70, 3)), rng.normal(size=70)
    popularity = np.exp(biases / 2) / np.exp(biases / 2).sum()
    monkeypatch.setattr("models.recommenders.scoring.fold_in._ITEMS_AT_ONCE", 32)

    side = ItemSide.of(items, biases)

    assert side.mean == pytest.approx(popularity @ items)
    covariance = np.cov(items, rowvar=False, aweights=popularity, ddof=0)
    assert side.axes * side.variances @ side.axes.T == pytest.approx(covariance)


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


def test_an_empty_history_leaves_the_user_at_zero():
    assert fold_in([], ItemSide.of(np.eye(3), np.arange(3.0))).vector.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_outside_the_items_is_refused(row):
    with pytest.raises(InvalidInput, match="outside the 3 items"):
        fold_in([0, row], ItemSide.of(np.eye(3), np.zeros(3)))


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
def test_a_prior_without_a_unique_answer_is_refused(wrong):
    with pytest.raises(InvalidInput, match="positive regularisation"):
        FoldIn(regularisation=wrong)


def test_scores_are_products_plus_biases():
    side = ItemSide.of(np.array([[1.0, 0.0], [0.0, 3.0]]), np.array([0.5, -1.0]))

    assert side.scores(np.array([2.0, 1.0])).tolist() == [2.5, 2.0]


def test_the_highest_scores_come_first_and_ties_are_sorted_by_row():
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
    """Return eight items in two blocks of different directions. The other block is more popular."""
    embeddings = np.array([[1, 0.1], [0.1, 1]] * 4, dtype=np.float32)
    zeros = np.zeros(8, dtype=np.float32)
    items = ItemArrays(
        embeddings=embeddings,
        biases=np.array([0.0, 0.2] * 4, dtype=np.float32),
        embedding_accumulators=zeros,
        bias_accumulators=zeros,
    )
    return Recommender.of(items, [f"i{row}" for row in range(8)], [f"Item {row}" for row in range(8)])


@pytest.mark.parametrize(("history", "same_block"), [([0, 2], ["i4", "i6"]), ([5, 3], ["i1", "i7"])])
def test_items_of_the_same_block_rank_first(history, same_block):
    answer = checkerboard().recommend(history, 2)

    assert [one.item_id for one in answer] == same_block
    assert [one.rank for one in answer] == [1, 2]
    assert answer[0].title == f"Item {same_block[0][1]}"
    assert answer[0].score >= answer[1].score


def test_items_of_the_history_and_excluded_items_are_not_recommended():
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


def test_an_empty_history_gets_popular_items():
    assert [one.item_id for one in checkerboard().recommend([], 4)] == ["i1", "i3", "i5", "i7"]


def test_similar_items_point_the_same_way():
    answer = checkerboard().similar(2, 4)

    assert [one.item_id for one in answer[:3]] == ["i0", "i4", "i6"]
    assert answer[0].similarity == pytest.approx(1.0)
    # (1, .1) and (.1, 1): cosine .2 / 1.01.
    assert answer[3].similarity == pytest.approx(0.2 / 1.01)


def test_an_item_at_zero_is_similar_to_no_other():
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


def test_a_trained_vector_scores_instead_of_the_history():
    recommender = checkerboard()
    # The history is of the first block, the trained user of the other.
    answer = recommender.recommend([0], 3, vector=np.array([0.0, 5.0]), reasons=2)

    assert [one.item_id for one in answer] == ["i1", "i3", "i5"]
    assert answer[0].score == pytest.approx(5.2)
    for one in answer:
        assert sum(reason.share for reason in one.because) == pytest.approx(1.0)
        assert {reason.kind for reason in one.because} >= {"others"}
