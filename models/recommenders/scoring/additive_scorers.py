"""Scorers of the families whose statistics add: what each item of a history says, summed.

Of the model they read what a history needs and no more, as its arrays may be mapped files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.kernel.arrays import FloatArray
from models.recommenders.items.item_factors import ItemFactors, UserStep
from models.recommenders.items.item_weights import ItemWeights, remembered
from models.recommenders.scoring.fold_in import Float64Array, Rows, checked_history
from models.recommenders.scoring.reasons import Reason, shares_of
from models.recommenders.scoring.scorer import Read, Scorer, ScorerParts

_USER_STEP = ("weight", "regularisation", "exponent")


@dataclass(frozen=True)
class SummedScores:
    """Scores that are sums over a history.

    Attributes:
        scores: (items,).
        history_rows: what they were scored for.
        summands: rows (n,) -> (history, n), what each item of the history adds to their scores.
        averages: (history,), what each adds to a score on average over all items.
    """

    scores: FloatArray
    history_rows: list[int]
    summands: Callable[[npt.NDArray[np.int64]], Float64Array]
    averages: Float64Array

    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        """Return each summand relative to its average, since what lifts all items alike explains none."""
        above = self.summands(np.asarray(rows, dtype=np.int64)) - self.averages[:, np.newaxis]
        nothing = np.zeros(above.shape[1])
        return shares_of(np.column_stack([above.T, nothing]), nothing, self.history_rows, most)


@dataclass(frozen=True)
class FactorScorer(Scorer):
    """iALS: a user's vector is a sum over the history, and so are the scores.

    Attributes:
        step: the items, and from a history to a user's vector.
        popularity: (items,) how many users used an item.
        lengths: (items,) of the embeddings; 1 where one is zero, which points nowhere.
        mean: (dims,) of all embeddings.
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
            model: the items, by which users' vectors are found.
            placed: (items, dims), the embeddings that are scored, among them those of items that nobody used
                (`models.recommenders.items.cold_items`); the model's own by default.
        """
        step = UserStep.of(model)
        step = step if placed is None else replace(step, items=placed)
        squares = np.einsum("ij,ij->i", step.items, step.items)
        mean = step.items.mean(axis=0, dtype=np.float64)
        return cls(step, model.popularity, _lengths(squares), np.asarray(mean))

    def __len__(self) -> int:
        return len(self.popularity)

    def score(
        self,
        history_rows: Sequence[int],
        weights: Sequence[float] | None = None,
        vector: Float64Array | None = None,
    ) -> SummedScores:
        rows, counted = checked_history(history_rows, weights, len(self))
        parts, items = self.step.parts(rows, counted), self.step.items
        # A history that says nothing gets what people like. A vector of another precision would have numpy
        # copy all embeddings first.
        scores = items @ parts.sum(axis=0).astype(items.dtype) if len(rows) else self.popularity
        return SummedScores(
            np.asarray(scores), rows.tolist(), lambda some: parts @ items[some].T, parts @ self.mean
        )

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
class WeightsScorer(Scorer):
    """Item-to-item weights: what is remembered of each item of a history, times its weights.

    A history's items come oldest first. For an answer the rows of its items alone are read.

    Attributes:
        model: the weights.
        lengths: (items,) of the items' columns; 1 where one is zero.
        averages: (memories, items) of the items' rows.
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

    def score(
        self,
        history_rows: Sequence[int],
        weights: Sequence[float] | None = None,
        vector: Float64Array | None = None,
    ) -> SummedScores:
        rows, counted = checked_history(history_rows, weights, len(self))
        steps_back = np.arange(len(rows))[::-1]
        memories = [counted * remembered(steps_back, each) for each in self.model.forgetting.tolist()]
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
        """Return the cosines (items,) of what speaks for each item with what speaks for this one."""
        products = np.sum([own.T @ own[:, row] for own in self.model.weights], axis=0)
        return np.asarray(np.clip(products / self.lengths / self.lengths[row], -1.0, 1.0))

    def directions(self, rows: Rows) -> FloatArray:
        """Return what speaks for these items (rows, memories * items), of length 1."""
        columns = np.concatenate([own[:, rows].T for own in self.model.weights], axis=1)
        return np.asarray(columns / self.lengths[rows, np.newaxis])

    def parts(self) -> ScorerParts:
        arrays = {**dict(self.model.named()), "norms": self.lengths, "averages": self.averages}
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


def _lengths(squares: FloatArray) -> FloatArray:
    return np.asarray(np.where(squares > 0.0, np.sqrt(squares), np.ones_like(squares)))
