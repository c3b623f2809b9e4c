"""A recommender: the scorer of a model, with the ids and titles of its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.federation.model import ItemArrays
from models.kernel.arrays import FloatArray
from models.recommenders.scoring.diversity import diversified
from models.recommenders.scoring.fold_in import Float64Array, FoldIn, ItemSide, top_k
from models.recommenders.scoring.points import ItemIndex, PointScores
from models.recommenders.scoring.reasons import Reason
from models.recommenders.scoring.scorer import Factors, Scored, Scorer

# Number of candidates for each item of a diverse answer.
_CANDIDATES_EACH = 10
# Number of items that an index is asked for, for each item wanted, since it rounds in another way.
_NEAREST_EACH = 2
# An index is asked for at most this number of items. For more, a pass over all items takes about as long.
_MOST_NEAREST = 4_000
_RowsAndScores = tuple[npt.NDArray[np.int64], FloatArray]


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        rank: from 1.
        item_id, title: which item.
        score: comparable within one answer only.
        because: the reasons for it, the strongest first. The shares add up to 1.
    """

    rank: int
    item_id: str
    title: str
    score: float
    because: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Similar:
    """An item like another.

    Attributes:
        item_id, title: which item.
        similarity: cosine of both embeddings, from -1 to 1.
    """

    item_id: str
    title: str
    similarity: float


@dataclass(frozen=True)
class Recommender:
    """Recommends items for histories. Equal queries get equal answers.

    Attributes:
        scorer: the promoted model.
        item_ids, titles: in row order.
        index: finds candidates, which are then scored. Without it each answer takes a pass over all items.
    """

    scorer: Scorer
    item_ids: Sequence[str]
    titles: Sequence[str]
    index: ItemIndex | None = None

    def __post_init__(self) -> None:
        if not len(self.item_ids) == len(self.titles) == len(self.scorer):
            raise InvalidInput(
                f"A model of {len(self.scorer)} items needs one id and one title for each, "
                f"got {len(self.item_ids)} and {len(self.titles)}."
            )

    @classmethod
    def of(
        cls,
        items: ItemArrays | ItemSide,
        item_ids: Sequence[str],
        titles: Sequence[str],
        how: FoldIn | None = None,
    ) -> Recommender:
        """Return a recommender that folds histories in between these items.

        Raises:
            InvalidInput: there is not one id and one title per row.
        """
        side = items if isinstance(items, ItemSide) else ItemSide.of(items.embeddings, items.biases)
        return cls(Factors.of(side, how), item_ids, titles)

    def scores(self, history_rows: Sequence[int]) -> FloatArray:
        """Return the scores (items,) of all items for a history."""
        return self.scorer.score(history_rows).scores

    def recommend(
        self,
        history_rows: Sequence[int],
        k: int,
        exclude: Sequence[int] = (),
        *,
        weights: Sequence[float] | None = None,
        allowed: npt.NDArray[np.bool_] | None = None,
        diversity: float = 0.0,
        reasons: int = 0,
        vector: Float64Array | None = None,
    ) -> list[Recommendation]:
        """Return the k best items for a history, without the items of the history.

        Args:
            history_rows: rows without duplicates; for an empty history the popular items come first.
            k: at least 1.
            exclude: further rows that must not appear.
            weights: confidence in each item of the history; 1 by default.
            allowed: (items,) which items may appear; all by default.
            diversity: from 0, the best scores, to 1, the most different items among the candidates.
            reasons: maximal number of reasons for each item.
            vector: (dims,) the user's trained vector, if any. It replaces the history in the scores.
        """
        scored = self.scorer.score(history_rows, weights, vector)
        candidates = k * _CANDIDATES_EACH if diversity else k
        excluded = [*history_rows, *exclude]
        found = self._nearest(scored, candidates, excluded) if allowed is None else None
        rows, scores = found or _best(scored, candidates, excluded, allowed)
        if diversity:
            chosen = diversified(np.arange(len(rows)), scores, self.scorer.directions(rows), k, diversity)
            rows, scores = rows[chosen], scores[chosen]
        why = scored.reasons(rows, reasons) if reasons else None
        ranked = zip(rows.tolist(), scores.tolist(), strict=True)
        return [
            Recommendation(
                rank=place + 1,
                item_id=self.item_ids[row],
                title=self.titles[row],
                score=score,
                because=why[place] if why else (),
            )
            for place, (row, score) in enumerate(ranked)
        ]

    def _nearest(self, scored: Scored, k: int, exclude: Sequence[int]) -> _RowsAndScores | None:
        """Return about the k best rows and their scores by the index; None if only a pass finds k rows."""
        wanted = k * _NEAREST_EACH + len(exclude)
        if self.index is None or not isinstance(scored, PointScores) or wanted > _MOST_NEAREST:
            return None
        if (point := scored.point) is None:
            return None
        near = self.index.nearest(point, wanted)
        near = near[np.isin(near, exclude, invert=True)]
        scores = scored.of(near)
        places = top_k(scores, k)
        return (near[places], scores[places]) if len(places) == k else None

    def similar(self, row: int, k: int) -> list[Similar]:
        """Return the k items that are most like this one."""
        similarities = self.scorer.similarities(row)
        return [
            Similar(self.item_ids[other], self.titles[other], float(similarities[other]))
            for other in top_k(similarities, k, [row]).tolist()
        ]

    def golden_scores(self) -> FloatArray:
        """Return all items' scores for three fixed histories: the first row, the middle one, and both."""
        middle = len(self.item_ids) // 2
        return np.concatenate([self.scores(rows) for rows in ([0], [middle], sorted({0, middle}))])


def _best(
    scored: Scored, k: int, exclude: Sequence[int], allowed: npt.NDArray[np.bool_] | None
) -> _RowsAndScores:
    """Return the k best rows and their scores by a pass over all items."""
    rows = top_k(scored.scores, k, exclude, allowed)
    return rows, scored.scores[rows]
