"""A recommender that answers: the item side of a model together with ids and titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import InvalidInput
from models.federation.model import GlobalModel
from models.recommenders.fold_in import Float64Array, FoldIn, fold_in, gram_of, scores_of, top_k


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        rank: from 1.
        item_id, title: which item.
        score: comparable within one answer only.
    """

    rank: int
    item_id: str
    title: str
    score: float


@dataclass(frozen=True)
class Recommender:
    """Answers histories by fold-in; equal questions get equal answers.

    Attributes:
        model: the promoted item arrays.
        item_ids, titles: in row order.
        gram: of the item embeddings, made once.
        how: the fold-in's settings.
    """

    model: GlobalModel
    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    gram: Float64Array
    how: FoldIn

    @classmethod
    def of(
        cls, model: GlobalModel, item_ids: Sequence[str], titles: Sequence[str], how: FoldIn | None = None
    ) -> Recommender:
        """A recommender over the items of a model.

        Raises:
            InvalidInput: there is not one id and one title per row.
        """
        rows = model.items.shape[0]
        if not len(item_ids) == len(titles) == rows:
            raise InvalidInput(
                f"A model of {rows} items needs as many ids and titles, "
                f"got {len(item_ids)} and {len(titles)}."
            )
        return cls(model, tuple(item_ids), tuple(titles), gram_of(model.items.embeddings), how or FoldIn())

    def scores(self, history_rows: Sequence[int]) -> Float64Array:
        """The scores (items,) of all items for a history."""
        items = self.model.items
        user = fold_in(history_rows, items.embeddings, items.biases, self.how, self.gram)
        return scores_of(user, items.embeddings, items.biases)

    def recommend(
        self, history_rows: Sequence[int], k: int, exclude: Sequence[int] = ()
    ) -> list[Recommendation]:
        """The k best items for a history; what is in the history itself is never recommended."""
        scores = self.scores(history_rows)
        return [
            Recommendation(rank, self.item_ids[row], self.titles[row], float(scores[row]))
            for rank, row in enumerate(top_k(scores, k, [*history_rows, *exclude]).tolist(), start=1)
        ]

    def golden_scores(self) -> Float64Array:
        """The scores of all items for three fixed histories: the first row, the middle one, and both."""
        middle = len(self.item_ids) // 2
        return np.concatenate([self.scores(rows) for rows in ([0], [middle], sorted({0, middle}))])
