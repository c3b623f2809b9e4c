"""Predicted ratings for a user whom the chain never saw, from a few ratings and the kept samples.

Given a sample of the items, the user's factors have a known distribution; only how noisy the user is must be
drawn, in turn with the factors. So the answer is what the chain would have said of that user, had the user
been one among very many: nothing is trained, and nothing is kept of the user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.errors import InvalidInput
from models.federation.streams import user_keys
from models.recommenders.bayesian_mf import BayesianMfSpec, Sample, draw_users, user_conditional
from models.recommenders.co_ratings import Directions
from models.recommenders.histories import Float64Array, IntArray
from models.recommenders.predicted_ratings import PredictedRatings, PredictionSums, predictions_of
from models.recommenders.ratings import Ratings
from models.recommenders.side_features import user_features

# Draws of the user's noise before the first that counts.
_BURN_IN = 5


@dataclass(frozen=True)
class RatingPredictor:
    """What answers are made from.

    Attributes:
        directions: of co-rating.
        samples: kept by the chain, at least one; more make the answer steadier.
        spec: the model.
    """

    directions: Directions
    samples: tuple[Sample, ...]
    spec: BayesianMfSpec

    def __post_init__(self) -> None:
        if not self.samples:
            raise InvalidInput("Ratings cannot be predicted without a sample of the items.")

    def predict(self, items: IntArray, values: Float64Array) -> PredictedRatings:
        """The ratings of all items by the user who gave these; equal ratings get equal answers.

        Args:
            items: (n,), rows of the items rated, each once; may be empty.
            values: (n,), the ratings, inside the scale.

        Raises:
            InvalidInput: an item is out of range or stands twice, or a rating lies outside the scale.
        """
        low, high = self.spec.lowest, self.spec.highest
        if not ((values >= low) & (values <= high)).all():
            raise InvalidInput(f"A rating lies outside the scale from {low:g} to {high:g}.")
        n_items = len(self.directions.items)
        ratings = Ratings.of(np.zeros(len(items), dtype=np.int64), items, values, (1, n_items))
        features = user_features(self.directions, ratings)
        keys = user_keys(0, "rating fold-in", ["user"])
        noise = np.ones(1)
        everything, nobody_else = np.arange(n_items), np.zeros(n_items, dtype=np.int64)
        sums = PredictionSums.zero(n_items)
        for step, sample in enumerate((*self.samples[:1] * _BURN_IN, *self.samples)):
            conditional = user_conditional(sample, ratings, features, noise, self.spec)
            if step >= _BURN_IN:
                part = predictions_of(sample, conditional, noise, nobody_else, everything, self.spec)
                sums = sums.plus(part)
            noise = np.asarray(draw_users(sample, conditional, ratings, keys, step, self.spec).noise)
        return sums.predicted(self.spec)
