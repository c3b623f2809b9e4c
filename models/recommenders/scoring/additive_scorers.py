"""Scorers of the additive families: the scores are sums over the items of a history.

They read only the part of the model that a history needs, because its arrays may be mapped files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.kernel.arrays import FloatArray
from models.recommenders.items.item_factors import ItemFactors, UserStep
from models.recommenders.items.item_weights import ItemWeights, remembered
from models.recommenders.scoring.fold_in import Float64Array, Rows
from models.recommenders.scoring.points import PointScores
from models.recommenders.scoring.reasons import Reason, shares_of
from models.recommenders.scoring.scorer import HistoryScorer, Read, ScorerParts

_USER_STEP = ("weight", "regularisation", "exponent")


@dataclass(frozen=True)
class SummedScores:
    """Scores that are sums over a history.

    Attributes:
        scores: (items,).
        history_rows: rows of the history.
        summands: rows (n,) -> (history, n), the part of each item of the history in their scores.
        averages: (history,), the mean of that part over all items.
    """

    scores: FloatArray
    history_rows: list[int]
    summands: Callable[[npt.NDArray[np.int64]], Float64Array]
    averages: Float64Array

    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        """Return the result of `_reasons` for the rows."""
        summands = self.summands(np.asarray(rows, dtype=np.int64))
        return _reasons(summands, self.averages, self.history_rows, most)


@dataclass(frozen=True)
class FactorSums(PointScores):
    """The scores of `FactorScorer`.

    Attributes:
        history_rows: rows of the history.
        parts: (history, dims), the part of each of its items in the user's vector.
        scorer: the items.
    """

    history_rows: list[int]
    parts: Float64Array
    scorer: FactorScorer

    @cached_property
    def scores(self) -> FloatArray:
        point = self.point
        # Without a history, the scores are the popularity.
        return self.scorer.popularity if point is None else np.asarray(self.scorer.step.items @ point)

    @property
    def point(self) -> FloatArray | None:
        """Return the user's vector (dims,); None without a history."""
        # A vector of another precision would make numpy copy all embeddings first.
        vector = self.parts.sum(axis=0).astype(self.scorer.step.items.dtype)
        return vector if self.history_rows else None

    def of(self, rows: Rows) -> FloatArray:
        point, items = self.point, self.scorer.step.items
        return np.asarray(self.scorer.popularity[rows] if point is None else items[rows] @ point)

    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        """Return the result of `_reasons` for the rows."""
        summands = self.parts @ self.scorer.step.items[np.asarray(rows, dtype=np.int64)].T
        return _reasons(summands, self.parts @ self.scorer.mean, self.history_rows, most)


@dataclass(frozen=True)
class FactorScorer(HistoryScorer):
    """Scores with iALS. A user's vector is a sum over the history, and so are the scores.

    Attributes:
        step: the items, and the step from a history to a user's vector.
        popularity: (items,) number of users of each item.
        lengths: (items,) lengths of the embeddings; 1 for a zero embedding.
        mean: (dims,) mean of all embeddings.
    """

    KIND: ClassVar[str] = "ials"

    step: UserStep
    popularity: FloatArray
    lengths: FloatArray
    mean: Float64Array

    @classmethod
    def of(cls, model: ItemFactors, placed: FloatArray | None = None) -> FactorScorer:
        """Return a scorer over these items.

        Args:
            model: the items that determine users' vectors.
            placed: (items, dims), the embeddings to score, with unused items placed by their features
                (`models.recommenders.items.cold_items`); the model's own by default.
        """
        step = UserStep.of(model)
        step = step if placed is None else replace(step, items=placed)
        squares = np.einsum("ij,ij->i", step.items, step.items)
        mean = step.items.mean(axis=0, dtype=np.float64)
        return cls(step, model.popularity, _lengths(squares), np.asarray(mean))

    def __len__(self) -> int:
        return len(self.popularity)

    def scored(self, rows: npt.NDArray[np.int64], counts: Float64Array) -> FactorSums:
        return FactorSums(rows.tolist(), self.step.parts(rows, counts), self)

    @property
    def points(self) -> FloatArray:
        """Return the embeddings (items, dims)."""
        return self.step.items

    def similarities(self, row: int) -> FloatArray:
        """Return the cosines (items,) of all embeddings with this one."""
        items = self.step.items
        return np.asarray(np.clip(items @ (items[row] / self.lengths[row]) / self.lengths, -1.0, 1.0))

    def directions(self, rows: Rows) -> FloatArray:
        """Return the embeddings (rows, dims), of length 1."""
        return np.asarray(self.step.items[rows] / self.lengths[rows, np.newaxis])

    def parts(self) -> ScorerParts:
        step = self.step
        return ScorerParts(
            settings={"user_step": {name: getattr(step, name) for name in _USER_STEP}},
            arrays={
                "embeddings": step.items,
                "everything": step.everything,
                "popularity": self.popularity,
                "norms": self.lengths,
                "mean": self.mean,
            },
        )

    @classmethod
    def of_parts(cls, settings: Mapping[str, Any], items: int, dims: int, read: Read) -> Self:
        numbers = {name: float(value) for name, value in settings["user_step"].items()}
        step = UserStep(read("embeddings", (items, dims)), read("everything", (dims, dims)), **numbers)
        return cls(step, read("popularity", (items,)), read("norms", (items,)), read("mean", (dims,)))


@dataclass(frozen=True)
class WeightsScorer(HistoryScorer):
    """Scores with item-to-item weights: the memory of each item of a history, times its weights.

    A history's items come oldest first. Only the rows of its items are read.

    Attributes:
        model: the weights.
        lengths: (items,) lengths of the items' columns; 1 for a zero column.
        averages: (memories, items) means of the items' rows.
    """

    KIND: ClassVar[str] = "item_weights"

    model: ItemWeights
    lengths: FloatArray
    averages: Float64Array

    @classmethod
    def of(cls, model: ItemWeights) -> WeightsScorer:
        """Return a scorer over these weights."""
        squares = np.einsum("mij,mij->j", model.weights, model.weights, dtype=np.float64)
        averages = model.weights.mean(axis=2, dtype=np.float64)
        return cls(model, _lengths(squares).astype(np.float32), np.asarray(averages))

    def __len__(self) -> int:
        return len(self.lengths)

    def scored(self, rows: npt.NDArray[np.int64], counts: Float64Array) -> SummedScores:
        steps_back = np.arange(len(rows))[::-1]
        memories = [counts * remembered(steps_back, each) for each in self.model.forgetting.tolist()]
        own = list(zip(memories, self.model.weights, strict=True))

        def summands(some: npt.NDArray[np.int64]) -> Float64Array:
            each = [memory[:, np.newaxis] * from_[np.ix_(rows, some)] for memory, from_ in own]
            return np.asarray(np.sum(each, axis=0))

        if len(rows):
            said = [memory.astype(from_.dtype) @ from_[rows] for memory, from_ in own]
            scores = np.sum(said, axis=0)
        else:
            scores = self.model.popularity
        averages = np.sum(np.stack(memories) * self.averages[:, rows], axis=0)
        return SummedScores(np.asarray(scores), rows.tolist(), summands, averages)

    def similarities(self, row: int) -> FloatArray:
        """Return the cosines (items,) of each item's column of weights with this item's."""
        products = np.sum([own.T @ own[:, row] for own in self.model.weights], axis=0)
        return np.asarray(np.clip(products / self.lengths / self.lengths[row], -1.0, 1.0))

    def directions(self, rows: Rows) -> FloatArray:
        """Return the columns of weights of these items, (rows, memories * items), of length 1."""
        columns = np.concatenate([own[:, rows].T for own in self.model.weights], axis=1)
        return np.asarray(columns / self.lengths[rows, np.newaxis])

    def parts(self) -> ScorerParts:
        own = {name: getattr(self.model, name) for name in ItemWeights.names()}
        arrays = {**own, "norms": self.lengths, "averages": self.averages}
        return ScorerParts({"memories": len(self.model.forgetting)}, arrays)

    @classmethod
    def of_parts(cls, settings: Mapping[str, Any], items: int, dims: int, read: Read) -> Self:
        memories = int(settings["memories"])
        model = ItemWeights(
            weights=read("weights", (memories, items, items)),
            forgetting=read("forgetting", (memories,)),
            popularity=read("popularity", (items,)),
        )
        return cls(model, read("norms", (items,)), read("averages", (memories, items)))


def _reasons(
    summands: Float64Array, averages: Float64Array, history_rows: list[int], most: int
) -> list[tuple[Reason, ...]]:
    """Return reasons from each summand minus its mean, since a part common to all items explains none.

    Args:
        summands: (history, n), the part of each item of the history in the scores of n items.
        averages: (history,), the mean of that part over all items.
        history_rows: rows of the history.
        most: as in `shares_of`.
    """
    above = summands - averages[:, np.newaxis]
    nothing = np.zeros(above.shape[1])
    return shares_of(np.column_stack([above.T, nothing]), nothing, history_rows, most)


def _lengths(squares: FloatArray) -> FloatArray:
    return np.asarray(np.where(squares > 0.0, np.sqrt(squares), np.ones_like(squares)))
