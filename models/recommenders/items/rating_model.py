"""The shared model of the family that predicts ratings: a state of its chain, and samples that it kept.

A job's rounds are one chain (`models.recommenders.rating.bayesian_mf`). What the server knows after a round
is all in these arrays, so that the chain goes on from any round's artefact: counts, directions of co-rating,
the newest draw, and a bounded number of earlier draws of the items, from which ratings are predicted.
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
    """Everything is float32, and nothing in it is of a single user.

    Attributes:
        scale: (2,), ends of the rating scale.
        noise_freedom: (1,), degrees of freedom of the users' noise.
        progress: (1,), merges behind this model; says what the next round is for.
        mean, items, item_noise, noise, item_coefficients, item_precision, item_ridge, user_coefficients,
            user_precision, user_ridge: the newest draw, as in `bayesian_mf.Sample`.
        content: (items, contents), what the items are, such as their genres; may have no column.
        direction_items, direction_strengths, item_ratings, users: as in
            `models.recommenders.rating.co_ratings.Directions`.
        kept: (1,), how many draws were kept, ever; the newest stand in the arrays below.
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
    ANEW: ClassVar[frozenset[str]] = frozenset({"content", "direction_items", "item_ratings"})

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
        """(items, dims): the newest draw of the items' factors, without their biases."""
        return self.items[:, 1:]

    @property
    def item_biases(self) -> FloatArray:
        """(items,): the newest draw of the biases, in quarters of the scale."""
        return self.items[:, 0]

    @property
    def trained(self) -> npt.NDArray[np.bool_]:
        """(items,): whether anybody has rated the item."""
        return np.asarray(self.item_ratings > 0.0)

    @property
    def draws(self) -> int:
        """How many kept draws there are to predict from."""
        return min(int(self.kept[0]), len(self.kept_noise))

    @property
    def n_directions(self) -> int:
        """How many directions of co-rating are features of users, beside a constant and a count."""
        return len(self.user_ridge) - 2


@dataclass(frozen=True)
class PredictedRatings:
    """What is believed of pairs of user and item, (pairs,) float64 each.

    Attributes:
        means: expected ratings, inside the scale.
        spreads: standard deviations of these expectations, from not knowing the factors.
        deviations: standard deviations of the ratings themselves, noise included.
    """

    means: npt.NDArray[np.float64]
    spreads: npt.NDArray[np.float64]
    deviations: npt.NDArray[np.float64]
