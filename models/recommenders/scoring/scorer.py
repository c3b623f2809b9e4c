"""What a model must be able to do to be served: score all items for a history, and say why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.kernel.arrays import FloatArray
from models.recommenders.scoring.fold_in import Float64Array, FoldedUser, FoldIn, ItemSide, Rows, fold_in
from models.recommenders.scoring.reasons import Reason, reasons_for


class Scored(Protocol):
    """The scores of one history."""

    @property
    def scores(self) -> FloatArray:
        """(items,), finite, the more the better."""
        ...

    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        """For each of these rows what speaks for it: at most so many reasons, and the rest as one."""
        ...


class Scorer(Protocol):
    """A family of models behind the one answering service; equal questions get equal scores."""

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def score(
        self,
        history_rows: Sequence[int],
        weights: Sequence[float] | None = None,
        vector: Float64Array | None = None,
    ) -> Scored:
        """All items scored for a history: rows without duplicates, each with a positive weight or 1.

        Where the user's own trained vector (dims,) is given, it scores, and the history only says why.
        """
        ...

    def similarities(self, row: int) -> FloatArray:
        """(items,), how much each item is like this one, from -1 to 1."""
        ...

    def directions(self, rows: Rows) -> FloatArray:
        """(rows, dims) vectors of length 1 whose products are the similarities of these items."""
        ...


@dataclass(frozen=True)
class Factors:
    """Item factors, and a user folded in for each history.

    Attributes:
        side: the item arrays.
        how: the fold-in's settings.
        norms: (items,) lengths of the embeddings; 1 where one is zero, which points nowhere.
        mean: (dims,) of all embeddings.
    """

    side: ItemSide
    how: FoldIn
    norms: FloatArray
    mean: Float64Array

    @classmethod
    def of(cls, side: ItemSide, how: FoldIn | None = None) -> Factors:
        """A scorer over these items."""
        norms = np.sqrt(np.einsum("ij,ij->i", side.embeddings, side.embeddings))
        return cls(
            side=side,
            how=how or FoldIn(),
            norms=np.asarray(np.where(norms > 0.0, norms, np.ones_like(norms))),
            mean=np.asarray(side.embeddings.mean(axis=0, dtype=np.float64)),
        )

    def __len__(self) -> int:
        return len(self.side)

    def score(
        self,
        history_rows: Sequence[int],
        weights: Sequence[float] | None = None,
        vector: Float64Array | None = None,
    ) -> FactorScores:
        """See `Scorer`; for the errors see `fold_in`."""
        user = fold_in(history_rows, self.side, self.how, weights)
        if vector is not None:
            user = FoldedUser.trained(vector, user.parts)
        return FactorScores(self.side.scores(user.vector), list(history_rows), user, self)

    def similarities(self, row: int) -> FloatArray:
        """The cosines (items,) of all embeddings with this one."""
        embedding = self.side.embeddings[row] / self.norms[row]
        return np.asarray(np.clip(self.side.embeddings @ embedding / self.norms, -1.0, 1.0))

    def directions(self, rows: Rows) -> FloatArray:
        """The embeddings (rows, dims), of length 1."""
        return np.asarray(self.side.embeddings[rows] / self.norms[rows, None])


@dataclass(frozen=True)
class FactorScores:
    """See `Scored`.

    Attributes:
        scores: (items,).
        history_rows: what they were scored for.
        user: folded in from that.
        factors: the items.
    """

    scores: FloatArray
    history_rows: list[int]
    user: FoldedUser
    factors: Factors

    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        """See `reasons_for`."""
        return reasons_for(rows, self.history_rows, self.user, self.factors.side, self.factors.mean, most)
