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
from models.recommenders.scoring.reasons import Reason
from models.recommenders.scoring.scorer import Factors, Scorer

# Number of candidates for each item of a diverse answer.
_CANDIDATES_EACH = 10


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
    """

    scorer: Scorer
    item_ids: Sequence[str]
    titles: Sequence[str]

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
        rows = top_k(scored.scores, candidates, [*history_rows, *exclude], allowed)
        if diversity:
            rows = diversified(rows, scored.scores[rows], self.scorer.directions(rows), k, diversity)
        why = scored.reasons(rows, reasons) if reasons else None
        ranked = zip(rows.tolist(), scored.scores[rows].tolist(), strict=True)
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
