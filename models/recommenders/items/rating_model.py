"""The shared model of the family that predicts ratings: a state of its Gibbs chain, and kept draws.

A job's rounds are one chain (`models.recommenders.rating.bayesian_mf`). These arrays are the server's whole
state after a round, so the chain can continue from any round's artefact: counts, directions of co-rating, the
newest draw, and a bounded number of earlier draws of the items, from which ratings are predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from models.federation.model import ItemModel
from models.kernel.arrays import FloatArray


@dataclass(frozen=True)
class RatingModel(ItemModel):
    """The shared model that predicts ratings, all float32. It contains nothing of single users.

    Attributes:
        scale: (2,), ends of the rating scale.
        noise_freedom: (1,), degrees of freedom of the users' noise.
        progress: (1,), number of merges so far, which determines the purpose of the next round.
        mean, items, item_noise, noise, item_coefficients, item_precision, item_ridge, user_coefficients,
            user_precision, user_ridge: the newest draw, as in `bayesian_mf.Sample`.
        content: (items, contents), content features of the items, such as genres; may have no column.
        direction_items, direction_strengths, item_ratings, users: as in
            `models.recommenders.rating.co_ratings.Directions`.
        kept: (1,), number of draws kept so far. The newest are in the arrays below.
        kept_items: (draws, items, factors).
        kept_item_noise: (draws, items).
        kept_noise: (draws,).
        kept_user_coefficients: (draws, user features, factors).
        kept_user_precision: (draws, factors, factors).
    """

    AXES: ClassVar[Mapping[str, str]] = {
        "scale": "ends",
        "noise_freedom": "one",
        "progress": "one",
        "mean": "one",
        "items": "items factors",
        "item_noise": "items",
        "noise": "one",
        "item_coefficients": "item-features factors",
        "item_precision": "factors factors",
        "item_ridge": "item-features",
        "user_coefficients": "user-features factors",
        "user_precision": "factors factors",
        "user_ridge": "user-features",
        "content": "items contents",
        "direction_items": "items directions",
        "direction_strengths": "directions",
        "item_ratings": "items",
        "users": "one",
        "kept": "one",
        "kept_items": "draws items factors",
        "kept_item_noise": "draws items",
        "kept_noise": "draws",
        "kept_user_coefficients": "draws user-features factors",
        "kept_user_precision": "draws factors factors",
    }
    ZERO_IS_UNTRAINED: ClassVar[bool] = False
    RECOMPUTED: ClassVar[frozenset[str]] = frozenset({"content", "direction_items", "item_ratings"})

    scale: FloatArray
    noise_freedom: FloatArray
    progress: FloatArray
    mean: FloatArray
    items: FloatArray
    item_noise: FloatArray
    noise: FloatArray
    item_coefficients: FloatArray
    item_precision: FloatArray
    item_ridge: FloatArray
    user_coefficients: FloatArray
    user_precision: FloatArray
    user_ridge: FloatArray
    content: FloatArray
    direction_items: FloatArray
    direction_strengths: FloatArray
    item_ratings: FloatArray
    users: FloatArray
    kept: FloatArray
    kept_items: FloatArray
    kept_item_noise: FloatArray
    kept_noise: FloatArray
    kept_user_coefficients: FloatArray
    kept_user_precision: FloatArray

    @property
    def vectors(self) -> FloatArray:
        """Return (items, dims): the newest draw of the items' factors, without their biases."""
        return self.items[:, 1:]

    @property
    def item_biases(self) -> FloatArray:
        """Return (items,): the newest draw of the biases, in quarters of the scale."""
        return self.items[:, 0]

    @property
    def trained(self) -> npt.NDArray[np.bool_]:
        """Return (items,): whether the item has a rating."""
        return np.asarray(self.item_ratings > 0.0)

    @property
    def draws(self) -> int:
        """Return the number of kept draws from which the model predicts."""
        return min(int(self.kept[0]), len(self.kept_noise))

    @property
    def n_directions(self) -> int:
        """Return the number of co-rating directions among the user features (a constant and a count more)."""
        return len(self.user_ridge) - 2


@dataclass(frozen=True)
class PredictedRatings:
    """Predicted ratings of pairs of user and item, (pairs,) float64 each.

    Attributes:
        means: expected ratings, inside the scale.
        spreads: standard deviations of these expectations, due to the uncertainty of the factors.
        deviations: standard deviations of the ratings themselves, including noise.
    """

    means: npt.NDArray[np.float64]
    spreads: npt.NDArray[np.float64]
    deviations: npt.NDArray[np.float64]
