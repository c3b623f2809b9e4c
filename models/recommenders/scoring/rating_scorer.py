"""Predicted ratings of one user, from a few ratings and the draws that a model holds.

Given a draw of the items, the user's factors have a known distribution. Given that distribution, the user's
noise has a known mean, and the two are computed in turns. So nothing is drawn or trained, equal ratings get
equal answers, and nothing about the user is stored. `models.recommenders.rating.gibbs.predicted` does the
same for all users of a client. This file serves one user without loading code that serving does not need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray
from models.recommenders.items.rating_model import PredictedRatings, RatingModel
from models.recommenders.scoring.fold_in import Float64Array, Rows, checked_history
from models.recommenders.scoring.reasons import Reason, shares_of
from models.recommenders.scoring.scorer import HistoryScorer, Read, ScorerParts

# Turns between a user's factors and noise, here and on clients. More turns change no metric.
TURNS = 2


@dataclass(frozen=True)
class RaterFactors:
    """A user's factors given each draw of the items.

    Attributes:
        means: (draws, factors).
        parts: (draws, history, factors), the part of each rating in them.
        covariances: (draws, factors, factors).
        noise: (draws,), the mean of t_u.
    """

    means: Float64Array
    parts: Float64Array
    covariances: Float64Array
    noise: Float64Array


@dataclass(frozen=True)
class ScoredRatings:
    """Scores that are expected ratings, not clipped to the scale.

    Attributes:
        scores: (items,).
        history_rows: rows of the history.
        rater: the user's factors.
        scorer: the items.
    """

    scores: FloatArray
    history_rows: list[int]
    rater: RaterFactors
    scorer: RatingScorer

    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        """Return the reasons. The part of the user's features belongs to no single item."""
        some = np.asarray(rows, dtype=np.int64)
        loadings = self.scorer.loadings[:, some] - self.scorer.mean_loading[:, np.newaxis]
        loadings[:, :, 0] = 0.0  # a user's bias raises all items equally
        draws = len(loadings)
        lifts = np.einsum("drf,dhf->rh", loadings, self.rater.parts) / draws
        unexplained = self.rater.means - self.rater.parts.sum(axis=1)
        rest = np.einsum("drf,df->r", loadings, unexplained) / draws
        popularity = self.scorer.biases[:, some].mean(axis=0) - self.scorer.biases.mean()
        return shares_of(np.column_stack([lifts, popularity]), rest, self.history_rows, most)


@dataclass(frozen=True)
class RatingScorer(HistoryScorer):
    """Predicts ratings, and ranks by them.

    For recommendations the items of a history count as liked: each is a rating at the top of the scale, whose
    weight is the item's weight.

    Attributes:
        model: the model of any round. Predictions are averages over its kept draws, or come from the newest
            draw if none was kept yet.
    """

    KIND: ClassVar[str] = "ratings"

    model: RatingModel

    def __len__(self) -> int:
        return len(self.model)

    @property
    def passes(self) -> int:
        """Return the number of draws over which an answer is averaged; 1 before any draw is kept."""
        return max(1, self.model.draws)

    @property
    def rater(self) -> RatingScorer:
        """Return this scorer, which predicts ratings itself."""
        return self

    @property
    def scale(self) -> tuple[float, float]:
        """Return the ends of the rating scale."""
        low, high = self.model.scale.tolist()
        return low, high

    def ratings(self, rows: Sequence[int], values: Sequence[float], wanted: Rows) -> PredictedRatings:
        """Return the predicted ratings of the wanted items, as `Rater` says."""
        low, high = self.scale
        given = np.asarray(values, dtype=np.float64)
        if not ((given >= low) & (given <= high)).all():
            raise InvalidInput(f"A rating lies outside the scale from {low:g} to {high:g}.")
        if len(set(rows)) != len(rows):
            raise InvalidInput("A history of ratings holds an item twice.")
        known, counted = checked_history(rows, None, len(self))
        some, _ = checked_history(wanted, None, len(self))
        rater = self._rater(known, given, counted)
        loadings, unit = self.loadings[:, some], self._unit
        expected = self._mean + unit * (self.biases[:, some] + np.einsum("dnf,df->dn", loadings, rater.means))
        variances = unit**2 * np.einsum("dnf,dfg,dng->dn", loadings, rater.covariances, loadings)
        precisions = self._precisions[:, some] * rater.noise[:, np.newaxis]
        means = expected.mean(axis=0)
        # The law of total variance: the variance within draws plus that between them.
        spread = np.maximum((expected**2 + variances).mean(axis=0) - means**2, 0.0)
        noise = (unit**2 / precisions).mean(axis=0)
        return PredictedRatings(np.clip(means, low, high), np.sqrt(spread), np.sqrt(spread + noise))

    def scored(self, rows: npt.NDArray[np.int64], counts: Float64Array) -> ScoredRatings:
        rater = self._rater(rows, np.full(len(rows), self.scale[1]), counts)
        said = np.einsum("dnf,df->n", self.loadings, rater.means) / len(self.loadings)
        scores = self._mean + self._unit * (self.biases.mean(axis=0) + said)
        return ScoredRatings(scores, rows.tolist(), rater, self)

    def similarities(self, row: int) -> FloatArray:
        """Return the cosines (items,) of the items' factors, all draws of them, with this one's."""
        return np.asarray(np.clip(self._directions @ self._directions[row], -1.0, 1.0))

    def directions(self, rows: Rows) -> FloatArray:
        """Return the factors (rows, draws * dims), of length 1."""
        return np.asarray(self._directions[np.asarray(rows)])

    def parts(self) -> ScorerParts:
        return ScorerParts({}, dict(self.model.named()))

    @classmethod
    def of_parts(cls, settings: Mapping[str, Any], items: int, dims: int, read: Read) -> Self:
        # The model itself checks whether the shapes fit together.
        return cls(RatingModel(**{name: read(name, None) for name in RatingModel.AXES}))

    def _rater(
        self, rows: npt.NDArray[np.int64], values: Float64Array, counted: Float64Array
    ) -> RaterFactors:
        loadings = self.loadings[:, rows]
        residuals = (values - self._mean) / self._unit - self.biases[:, rows]
        precisions = counted * self._precisions[:, rows]
        prior_precision = self._user_precision
        prior = np.einsum("dfg,dg->df", prior_precision, self._features(rows) @ self._user_coefficients)
        noise = np.ones(len(loadings))
        for turn in range(TURNS + 1):
            weighted = loadings * (noise[:, np.newaxis] * precisions)[..., np.newaxis]
            covariances = np.linalg.inv(prior_precision + np.einsum("dhf,dhg->dfg", weighted, loadings))
            parts = np.einsum("dfg,dhg->dhf", covariances, weighted * residuals[..., np.newaxis])
            means = parts.sum(axis=1) + np.einsum("dfg,dg->df", covariances, prior)
            if turn < TURNS:
                errors = residuals - np.einsum("dhf,df->dh", loadings, means)
                squares = errors**2 + np.einsum("dhf,dfg,dhg->dh", loadings, covariances, loadings)
                freedom = float(self.model.noise_freedom[0])
                noise = (freedom + counted.sum()) / (freedom + (precisions * squares).sum(axis=1))
        return RaterFactors(means, parts, covariances, noise)

    def _features(self, rows: npt.NDArray[np.int64]) -> Float64Array:
        """Return (features,): `models.recommenders.rating.side_features.user_features` of one user."""
        model = self.model
        count, users = max(len(rows), 1), max(float(model.users[0]), 1.0)
        n = model.n_directions
        strengths = model.direction_strengths[:n].astype(np.float64)
        roots = np.sqrt(np.maximum(model.item_ratings[rows].astype(np.float64), 1.0))
        places = (model.direction_items[rows, :n] / roots[:, np.newaxis]).sum(axis=0) / np.sqrt(count)
        found = np.divide(places, strengths, out=np.zeros(n), where=strengths > 0.0)
        usual = float(model.item_ratings.sum(dtype=np.float64)) / users
        return np.concatenate([[1.0], found * np.sqrt(users), [np.log1p(len(rows)) - np.log1p(usual)]])

    @property
    def _unit(self) -> float:
        low, high = self.scale
        return (high - low) / 4

    @property
    def _mean(self) -> float:
        return float(self.model.mean[0])

    @cached_property
    def _items(self) -> Float64Array:
        return self._draws_of(self.model.kept_items, self.model.items)

    @cached_property
    def biases(self) -> Float64Array:
        """Return (draws, items): the items' biases, in quarters of the scale."""
        return np.ascontiguousarray(self._items[:, :, 0])

    @cached_property
    def loadings(self) -> Float64Array:
        """Return (draws, items, factors): a 1, which multiplies the user's bias, and the factors."""
        loadings = self._items.copy()
        loadings[:, :, 0] = 1.0
        return loadings

    @cached_property
    def mean_loading(self) -> Float64Array:
        """Return (draws, factors): the mean loading over all items."""
        return np.asarray(self.loadings.mean(axis=1))

    @cached_property
    def _precisions(self) -> Float64Array:
        model = self.model
        noise = self._draws_of(model.kept_noise, model.noise[0])
        return np.asarray(noise[:, np.newaxis] * self._draws_of(model.kept_item_noise, model.item_noise))

    @cached_property
    def _user_precision(self) -> Float64Array:
        return self._draws_of(self.model.kept_user_precision, self.model.user_precision)

    @cached_property
    def _user_coefficients(self) -> Float64Array:
        return self._draws_of(self.model.kept_user_coefficients, self.model.user_coefficients)

    def _draws_of(self, kept: FloatArray, newest: FloatArray) -> Float64Array:
        """Return (draws, ...) float64: the kept draws, or the newest draw before any is kept."""
        draws = kept[: self.model.draws] if self.model.draws else newest[np.newaxis]
        return draws.astype(np.float64)

    @cached_property
    def _directions(self) -> FloatArray:
        vectors = self._items[:, :, 1:].transpose(1, 0, 2).reshape(len(self), -1)
        lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
        return np.asarray(vectors / np.where(lengths > 0.0, lengths, 1.0))
