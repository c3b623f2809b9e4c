"""Scores by points: one value whichever way it is computed, and an index that only finds candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models.kernel.arrays import FloatArray
from models.recommenders.items.item_factors import ItemFactors
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.scoring.additive_scorers import FactorScorer, WeightsScorer
from models.recommenders.scoring.fold_in import ItemSide
from models.recommenders.scoring.points import PointScores
from models.recommenders.scoring.recommender import Recommender
from models.recommenders.scoring.scorer import Factors, Scorer

ITEMS, DIMS = 60, 4
HISTORY = [3, 11, 29]


def lightfm() -> Factors:
    random = np.random.default_rng(5)
    embeddings = random.standard_normal((ITEMS, DIMS)).astype(np.float32)
    return Factors.of(ItemSide.of(embeddings, random.standard_normal(ITEMS).astype(np.float32)))


def ials() -> FactorScorer:
    random = np.random.default_rng(6)
    embeddings = random.standard_normal((ITEMS, DIMS)).astype(np.float32)
    popularity = random.integers(1, 50, ITEMS).astype(np.float32)
    user_step = np.array([0.1, 0.05, 1.0], dtype=np.float32)
    return FactorScorer.of(ItemFactors(embeddings, user_step, popularity))


class Sees:
    """An index that finds some items only, and notes how many it was asked for."""

    def __init__(self, rows: list[int]) -> None:
        self.rows, self.asked = np.array(rows, dtype=np.int64), 0

    def nearest(self, point: FloatArray, count: int) -> npt.NDArray[np.int64]:
        self.asked = count
        return self.rows


def recommender(scorer: Scorer, index: Any = None) -> Recommender:
    names = [str(row) for row in range(ITEMS)]
    return Recommender(scorer, names, names, index)


def rows(found: list[Any]) -> list[int]:
    return [int(each.item_id) for each in found]


@pytest.mark.parametrize("scorer", [lightfm(), ials()])
def test_a_score_is_the_product_of_the_points(scorer: Scorer) -> None:
    scored = scorer.score(HISTORY, [1.0, 2.0, 0.5])
    assert isinstance(scored, PointScores)
    assert scored.point is not None
    assert scorer.points is not None
    assert scorer.points @ scored.point == pytest.approx(scored.scores, abs=1e-5)
    assert scored.of([7, 2]) == pytest.approx(scored.scores[[7, 2]], abs=1e-6)


@pytest.mark.parametrize("scorer", [lightfm(), ials()])
def test_without_a_history_there_is_no_point(scorer: Scorer) -> None:
    """Popularity alone is no direction: an index would find the popular items badly."""
    scored = scorer.score([])
    assert isinstance(scored, PointScores)
    assert scored.point is None
    assert scored.of([4, 5]).tolist() == scored.scores[[4, 5]].tolist()
    index = Sees([1])
    assert rows(recommender(scorer, index).recommend([], 3)) == rows(recommender(scorer).recommend([], 3))
    assert index.asked == 0


@pytest.mark.parametrize("scorer", [lightfm(), ials()])
def test_what_the_index_finds_is_ranked_by_exact_scores(scorer: Scorer) -> None:
    index = Sees([2, 3, 8, 17, 40, 41])
    scores = scorer.score(HISTORY).scores
    # Item 3 is in the history, and item 40 is excluded.
    best = sorted([2, 8, 17, 41], key=lambda row: -scores[row])[:3]
    found = recommender(scorer, index).recommend(HISTORY, 3, [40], reasons=2)
    assert rows(found) == best
    assert [each.score for each in found] == pytest.approx(scores[best].tolist(), abs=1e-6)
    assert all(each.because for each in found)
    assert index.asked >= 3 + len(HISTORY) + 1


def test_an_index_that_sees_everything_gives_the_answers_of_a_pass() -> None:
    scorer = lightfm()
    indexed, plain = recommender(scorer, Sees(list(range(ITEMS)))), recommender(scorer)
    for diversity in (0.0, 0.4):
        for k in (1, 5):
            one = indexed.recommend(HISTORY, k, diversity=diversity)
            assert rows(one) == rows(plain.recommend(HISTORY, k, diversity=diversity))


@pytest.mark.parametrize(
    ("seen", "k", "allowed"),
    [
        ([2, 8], 3, None),  # too few
        (list(range(ITEMS)), 3, np.arange(ITEMS) < 30),  # a filter
        (list(range(ITEMS)), 2_001, None),  # so many that the index is not worth it
    ],
)
def test_where_the_index_does_not_serve_a_pass_answers(seen: list[int], k: int, allowed: Any) -> None:
    scorer, index = lightfm(), Sees(seen)
    found = recommender(scorer, index).recommend(HISTORY, k, allowed=allowed)
    assert rows(found) == rows(recommender(scorer).recommend(HISTORY, k, allowed=allowed))
    assert (index.asked > 0) == (seen == [2, 8])


def test_scores_that_are_no_products_have_no_points() -> None:
    """The index is for the others only, whatever it is given."""
    random = np.random.default_rng(7)
    weights = random.random((2, ITEMS, ITEMS), dtype=np.float32)
    scorer = WeightsScorer.of(
        ItemWeights(weights, np.full(2, 0.5, dtype=np.float32), random.random(ITEMS, dtype=np.float32))
    )
    index = Sees(list(range(ITEMS)))
    assert scorer.points is None
    assert rows(recommender(scorer, index).recommend(HISTORY, 3)) == rows(
        recommender(scorer).recommend(HISTORY, 3)
    )
    assert index.asked == 0
