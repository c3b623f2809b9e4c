"""The interface of scorers, which serve a model: scores for a history, reasons, and storage in files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from models.kernel.arrays import FloatArray
from models.recommenders.items.rating_model import PredictedRatings
from models.recommenders.scoring.fold_in import (
    Float64Array,
    FoldedUser,
    FoldIn,
    ItemSide,
    Rows,
    checked_history,
    fold_in,
)
from models.recommenders.scoring.points import PointScores
from models.recommenders.scoring.reasons import Reason, reasons_for

Array = npt.NDArray[Any]
# A positive weight for each item of a history; None weighs all 1.
Weights = Sequence[float] | None
# Returns the array of a name, or raises an error unless it has the given shape.
Read = Callable[[str, tuple[int, ...] | None], Array]


class Scored(Protocol):
    """The scores of one history."""

    @property
    def scores(self) -> FloatArray:
        """Return the scores (items,), finite; a higher score is better."""
        ...

    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        """Return the reasons for each of these rows: at most `most`, and the rest as one more."""
        ...


class Rater(Protocol):
    """Predicts ratings of a user who has given some."""

    @property
    def scale(self) -> tuple[float, float]:
        """Return the ends of the rating scale."""
        ...

    def ratings(self, rows: Sequence[int], values: Sequence[float], wanted: Rows) -> PredictedRatings:
        """Return the predicted ratings of the wanted items.

        Args:
            rows: of the items rated, each once; may be empty.
            values: (rows,), the ratings, inside the scale.
            wanted: (n,), rows.

        Raises:
            InvalidInput: a row is out of range or occurs twice, or a rating is outside the scale.
        """
        ...


@dataclass(frozen=True)
class ScorerParts:
    """A scorer as plain values, from which `Scorer.of_parts` creates it again.

    Attributes:
        settings: its numbers, as JSON values.
        arrays: its arrays by name.
    """

    settings: Mapping[str, Any]
    arrays: Mapping[str, Array]


class Scorer(ABC):
    """Scores items with a model. Equal queries get equal scores.

    Attributes:
        KIND: name of the class in files.
    """

    KIND: ClassVar[str]

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of items."""

    @abstractmethod
    def score(
        self, history_rows: Sequence[int], weights: Weights = None, vector: Float64Array | None = None
    ) -> Scored:
        """Return the scores of all items for a history.

        Args:
            history_rows: rows of its items without duplicates, the oldest first; may be empty.
            weights: one for each of them, positive; 1 by default.
            vector: (dims,), the user's trained vector. It determines the scores, and the history only the
                reasons. A scorer whose users have no vectors ignores it.

        Raises:
            InvalidInput: a row is not one of the items, or a weight is not positive.
        """

    @abstractmethod
    def similarities(self, row: int) -> FloatArray:
        """Return the similarity of each item to this one: (items,), from -1 to 1."""

    @abstractmethod
    def directions(self, rows: Rows) -> FloatArray:
        """Return (rows, dims) vectors of length 1 whose products are the similarities of these items."""

    @abstractmethod
    def parts(self) -> ScorerParts:
        """Return the parts from which `of_parts` creates this scorer again."""

    @classmethod
    @abstractmethod
    def of_parts(cls, settings: Mapping[str, Any], items: int, dims: int, read: Read) -> Self:
        """Return the scorer of these parts, over the arrays that `read` returns.

        Args:
            settings: the settings of `parts`, perhaps with others.
            items: the number of items.
            dims: the width of their vectors.
            read: returns an array of `parts`.

        Raises:
            KeyError, TypeError, ValueError, InvalidInput: a setting is missing or malformed.
        """

    @property
    def passes(self) -> int:
        """Return the number of passes over all items for an answer, which determines its time."""
        return 1

    @property
    def points(self) -> FloatArray | None:
        """Return (items, n) the points of the items, if all scores are `PointScores`; None for any others."""
        return None

    @property
    def rater(self) -> Rater | None:
        """Return the object that predicts ratings; None for a model that only ranks."""
        return None


class HistoryScorer(Scorer):
    """A scorer whose users have no vectors of their own."""

    def score(
        self, history_rows: Sequence[int], weights: Weights = None, vector: Float64Array | None = None
    ) -> Scored:
        return self.scored(*checked_history(history_rows, weights, len(self)))

    @abstractmethod
    def scored(self, rows: npt.NDArray[np.int64], counts: Float64Array) -> Scored:
        """Return the scores of all items for a history of these rows, each with its weight in `counts`."""


@dataclass(frozen=True)
class Factors(Scorer):
    """Scores with item factors, and a user vector folded in from each history.

    Attributes:
        side: the item arrays.
        how: the fold-in's settings.
        norms: (items,) lengths of the embeddings; 1 for a zero embedding.
        mean: (dims,) mean of all embeddings.
    """

    KIND: ClassVar[str] = "factors"

    side: ItemSide
    how: FoldIn
    norms: FloatArray
    mean: Float64Array

    @classmethod
    def of(cls, side: ItemSide, how: FoldIn | None = None) -> Factors:
        """Return a scorer over these items."""
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
        self, history_rows: Sequence[int], weights: Weights = None, vector: Float64Array | None = None
    ) -> FactorScores:
        user = fold_in(history_rows, self.side, self.how, weights)
        if vector is not None:
            user = FoldedUser.trained(vector, user.parts)
        return FactorScores(list(history_rows), user, self)

    @property
    def points(self) -> FloatArray:
        """Return (items, dims + 1), each embedding with its bias."""
        return np.column_stack([self.side.embeddings, self.side.biases])

    def similarities(self, row: int) -> FloatArray:
        """Return the cosines (items,) of all embeddings with this one."""
        embedding = self.side.embeddings[row] / self.norms[row]
        return np.asarray(np.clip(self.side.embeddings @ embedding / self.norms, -1.0, 1.0))

    def directions(self, rows: Rows) -> FloatArray:
        """Return the embeddings (rows, dims), of length 1."""
        return np.asarray(self.side.embeddings[rows] / self.norms[rows, None])

    def parts(self) -> ScorerParts:
        side = self.side
        return ScorerParts(
            settings={"fold_in": asdict(self.how), "bias_mean": side.bias_mean},
            arrays={
                "embeddings": side.embeddings,
                "biases": side.biases,
                "popular_mean": side.mean,
                "axes": side.axes,
                "variances": side.variances,
                "norms": self.norms,
                "mean": self.mean,
            },
        )

    @classmethod
    def of_parts(cls, settings: Mapping[str, Any], items: int, dims: int, read: Read) -> Self:
        side = ItemSide(
            embeddings=read("embeddings", (items, dims)),
            biases=read("biases", (items,)),
            bias_mean=float(settings["bias_mean"]),
            mean=read("popular_mean", (dims,)),
            axes=read("axes", (dims, dims)),
            variances=read("variances", (dims,)),
        )
        return cls(side, FoldIn(**settings["fold_in"]), read("norms", (items,)), read("mean", (dims,)))


@dataclass(frozen=True)
class FactorScores(PointScores):
    """The scores of `Factors`.

    Attributes:
        history_rows: rows of the history.
        user: the user folded in from them.
        factors: the items.
    """

    history_rows: list[int]
    user: FoldedUser
    factors: Factors

    @cached_property
    def scores(self) -> FloatArray:
        return self.factors.side.scores(self.user.vector)

    @property
    def point(self) -> FloatArray | None:
        """Return the user vector and a 1 for the bias, (dims + 1,); None for the zero vector."""
        vector = self.user.vector
        return np.append(vector, 1.0).astype(self.factors.side.embeddings.dtype) if vector.any() else None

    def of(self, rows: Rows) -> FloatArray:
        return self.factors.side.scores_of(rows, self.user.vector)

    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        """Return the result of `reasons_for` for the rows."""
        return reasons_for(rows, self.history_rows, self.user, self.factors.side, self.factors.mean, most)
