"""A recommender that answers: the item side of a model together with ids and titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.federation.arrays import FloatArray
from models.federation.model import ItemArrays
from models.recommenders.diversity import diversified
from models.recommenders.fold_in import FoldIn, ItemSide, Rows, fold_in, top_k
from models.recommenders.reasons import Reason, reasons_for

# Candidates that a diverse answer chooses from, for each item that it holds.
_CANDIDATES_EACH = 10


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        rank: from 1.
        item_id, title: which item.
        score: comparable within one answer only.
        because: what speaks for it, the strongest first; the shares add up to 1.
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
    """Answers histories by fold-in; equal questions get equal answers.

    Attributes:
        side: the promoted item arrays.
        item_ids, titles: in row order.
        how: the fold-in's settings.
    """

    side: ItemSide
    item_ids: Sequence[str]
    titles: Sequence[str]
    how: FoldIn

    @classmethod
    def of(
        cls,
        items: ItemArrays | ItemSide,
        item_ids: Sequence[str],
        titles: Sequence[str],
        how: FoldIn | None = None,
    ) -> Recommender:
        """A recommender over these items.

        Raises:
            InvalidInput: there is not one id and one title per row.
        """
        side = items if isinstance(items, ItemSide) else ItemSide.of(items.embeddings, items.biases)
        if not len(item_ids) == len(titles) == len(side):
            raise InvalidInput(
                f"A model of {len(side)} items needs as many ids and titles, "
                f"got {len(item_ids)} and {len(titles)}."
            )
        return cls(side, item_ids, titles, how or FoldIn())

    def scores(self, history_rows: Rows) -> FloatArray:
        """The scores (items,) of all items for a history."""
        return self.side.scores(fold_in(history_rows, self.side, self.how).vector)

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
    ) -> list[Recommendation]:
        """The k best items for a history; what is in the history itself is never recommended.

        Args:
            history_rows: rows without duplicates; for an empty history the popular items come first.
            k: at least 1.
            exclude: further rows that must not appear.
            weights: confidence in each item of the history; 1 where nothing is said.
            allowed: (items,) which items may appear; all where nothing is said.
            diversity: from 0, the best scores, to 1, the most different items among the candidates.
            reasons: how many reasons each item comes with, at most.
        """
        user = fold_in(history_rows, self.side, self.how, weights)
        scores = self.side.scores(user.vector)
        out: Rows = [*history_rows, *exclude]
        if allowed is not None:
            out = np.concatenate([np.asarray(out, dtype=np.int64), np.flatnonzero(~allowed)])
        rows = top_k(scores, k * _CANDIDATES_EACH if diversity else k, out)
        if diversity:
            rows = diversified(rows, scores[rows], self._directions(rows), k, diversity)
        why = reasons_for(rows, list(history_rows), user, self.side, self._mean, reasons) if reasons else None
        return [
            Recommendation(
                rank=place + 1,
                item_id=self.item_ids[row],
                title=self.titles[row],
                score=float(scores[row]),
                because=why[place] if why else (),
            )
            for place, row in enumerate(rows.tolist())
        ]

    def similar(self, row: int, k: int) -> list[Similar]:
        """The k items whose embeddings point most nearly in the direction of this one's."""
        embedding = self.side.embeddings[row]
        cosines = self.side.embeddings @ embedding / self._norms / self._norms[row]
        return [
            Similar(self.item_ids[other], self.titles[other], float(np.clip(cosines[other], -1.0, 1.0)))
            for other in top_k(cosines, k, [row]).tolist()
        ]

    def golden_scores(self) -> FloatArray:
        """The scores of all items for three fixed histories: the first row, the middle one, and both."""
        middle = len(self.item_ids) // 2
        return np.concatenate([self.scores(rows) for rows in ([0], [middle], sorted({0, middle}))])

    def _directions(self, rows: Rows) -> FloatArray:
        return np.asarray(self.side.embeddings[rows] / self._norms[rows, None])

    @cached_property
    def _norms(self) -> FloatArray:
        """Lengths (items,) of the embeddings; 1 where one is zero, which points nowhere."""
        norms = np.sqrt(np.einsum("ij,ij->i", self.side.embeddings, self.side.embeddings))
        return np.asarray(np.where(norms > 0.0, norms, np.ones_like(norms)))

    @cached_property
    def _mean(self) -> npt.NDArray[np.float64]:
        """The mean (dims,) of all embeddings."""
        return np.asarray(self.side.embeddings.mean(axis=0, dtype=np.float64))
