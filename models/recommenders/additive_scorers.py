"""Scorers of the families whose statistics add: what each item of a history says, summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.federation.arrays import FloatArray
from models.recommenders.cold_items import placed_rows
from models.recommenders.fold_in import Float64Array, Rows, checked_history
from models.recommenders.ials import ItemFactors, UserStep
from models.recommenders.item_weights import ItemWeights, remembered
from models.recommenders.reasons import Reason, shares_of


@dataclass(frozen=True)
class SummedScores:
    """See `models.recommenders.scorer.Scored`.

    Attributes:
        scores: (items,).
        history_rows: what they were scored for.
        summands: (history, items), what each item of the history adds.
    """

    scores: FloatArray
    history_rows: list[int]
    summands: Float64Array

    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        """Each summand is taken relative to its mean over the items, since what lifts all explains none."""
        above = self.summands[:, np.asarray(rows)] - self.summands.mean(axis=1, keepdims=True)
        nothing = np.zeros(above.shape[1])
        return shares_of(np.column_stack([above.T, nothing]), nothing, self.history_rows, most)


@dataclass(frozen=True)
class FactorScorer:
    """iALS: a user's vector is a sum over the history, and so are the scores.

    Attributes:
        model: the items.
        step: from a history to a user's vector.
        units: (items, dims) the embeddings, of length 1 where they are not zero.
    """

    model: ItemFactors
    step: UserStep
    units: Float64Array

    @classmethod
    def of(cls, model: ItemFactors, features: sp.csr_matrix | None = None) -> FactorScorer:
        """A scorer over these items.

        Args:
            model: the items.
            features: (items, features) by which items that nobody used are placed; they stay at 0 without.
        """
        step = UserStep.of(model)
        if features is not None:
            placed = placed_rows(step.items, model.trained, features)
            step = replace(step, items=placed.astype(np.float64))
        return cls(model, step, _units(step.items))

    def __len__(self) -> int:
        return len(self.units)

    def score(
        self,
        history_rows: Sequence[int],
        weights: Sequence[float] | None = None,
        vector: Float64Array | None = None,
    ) -> SummedScores:
        """See `models.recommenders.scorer.Scorer`; users have no vectors of their own here."""
        rows, counted = checked_history(history_rows, weights, len(self))
        summands = self.step.parts(rows, counted) @ self.step.items.T
        return _summed(summands, rows, self.model.popularity)

    def similarities(self, row: int) -> FloatArray:
        """The cosines (items,) of all embeddings with this one."""
        return np.asarray(np.clip(self.units @ self.units[row], -1.0, 1.0))

    def directions(self, rows: Rows) -> FloatArray:
        """The embeddings (rows, dims), of length 1."""
        return np.asarray(self.units[rows])


@dataclass(frozen=True)
class WeightsScorer:
    """Item-to-item weights: what is remembered of each item of a history, times its weights.

    A history's items come oldest first.

    Attributes:
        model: the weights.
        lengths: (items,) of the items' columns; 1 where one is zero.
    """

    model: ItemWeights
    lengths: Float64Array

    @classmethod
    def of(cls, model: ItemWeights, features: sp.csr_matrix | None = None) -> WeightsScorer:
        """A scorer over these weights.

        Args:
            model: the weights.
            features: (items, features) by which items that nothing speaks for get weights; they stay at 0
                without.
        """
        if features is not None:
            known = np.asarray(model.weights.any(axis=(0, 1)))
            columns = [placed_rows(own.T, known, features).T for own in model.weights]
            model = replace(model, weights=np.stack(columns))
        squares = np.einsum("mij,mij->j", model.weights, model.weights, dtype=np.float64)
        return cls(model, np.where(squares > 0.0, np.sqrt(squares), 1.0))

    def __len__(self) -> int:
        return len(self.lengths)

    def score(
        self,
        history_rows: Sequence[int],
        weights: Sequence[float] | None = None,
        vector: Float64Array | None = None,
    ) -> SummedScores:
        """See `models.recommenders.scorer.Scorer`; users have no vectors of their own here."""
        rows, counted = checked_history(history_rows, weights, len(self))
        steps_back = np.arange(len(rows))[::-1]
        summands = np.zeros((len(rows), len(self)))
        for own, forgetting in zip(self.model.weights, self.model.forgetting.tolist(), strict=True):
            memory = remembered(steps_back, forgetting) * counted
            summands += memory[:, np.newaxis] * own[rows]
        return _summed(summands, rows, self.model.popularity)

    def similarities(self, row: int) -> FloatArray:
        """The cosines (items,) of what speaks for each item with what speaks for this one."""
        products = np.zeros(len(self))
        for own in self.model.weights:
            products += own.T @ own[:, row].astype(np.float64)
        return np.asarray(np.clip(products / self.lengths / self.lengths[row], -1.0, 1.0))

    def directions(self, rows: Rows) -> FloatArray:
        """What speaks for these items (rows, memories * items), of length 1."""
        columns = np.concatenate([own[:, rows].T for own in self.model.weights], axis=1)
        return np.asarray(columns / self.lengths[rows, np.newaxis])


def _summed(summands: Float64Array, rows: npt.NDArray[np.int64], popularity: FloatArray) -> SummedScores:
    # A history that says nothing gets what people like.
    scores = summands.sum(axis=0) if len(rows) else popularity.astype(np.float64)
    return SummedScores(scores, rows.tolist(), summands)


def _units(vectors: FloatArray) -> Float64Array:
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    return np.asarray(wide / np.where(lengths > 0.0, lengths, 1.0))
