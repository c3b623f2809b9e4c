"""How well predicted ratings agree with given ones, as sums that add across clients.

"Accuracy" of ratings has no one meaning, and the definitions lie far apart; so each has a name here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.split import IntArray
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.metric import Metric

Float64Array = npt.NDArray[np.float64]

RMSE = "rmse"
# In the order in which tables show them. A prediction is rounded half up to whole stars where that is said.
RATING_METRICS = (
    RMSE,  # root of the mean squared error
    "mae",  # mean absolute error
    "accuracy_exact",  # rounded, it is the rating
    "accuracy_within_1",  # it is at most one star from the rating
    "accuracy_rounded_within_1",  # rounded, it is at most one star from the rating
    "accuracy_like_at_3",  # rounded, it is at least 3 where the rating is, and below where that is
    "accuracy_like_at_4",  # the same at 4
)
# How often a rating lies in its 90 % interval.
INSIDE_90 = "inside_90"
# The standard normal distribution's 95 % point: between its 5 % and 95 % points lie 90 %.
_Z = 1.6448536


@dataclass(frozen=True)
class RatingSums(ArrayGroup):
    """Sums over the cases of a client, or of all clients once added up.

    Attributes:
        totals: (1 + replicates, metrics), of each metric's values; of the squared error for RMSE.
        cases: (1 + replicates,), how many cases they are sums over.
    """

    totals: Float64Array
    cases: Float64Array

    @classmethod
    def of(cls, values: Float64Array, users: IntArray, weights: IntArray) -> RatingSums:
        """The sums over these cases.

        Args:
            values: (cases, metrics), as from `rating_values`.
            users: (cases,), the user row of each.
            weights: (1 + replicates, users), as drawn by `replicate_weights`.
        """
        by_user = np.zeros((weights.shape[1], values.shape[1]))
        np.add.at(by_user, users, values)
        counts = np.bincount(users, minlength=weights.shape[1])
        counted = weights.astype(np.float64)
        return cls(counted @ by_user, counted @ counts)

    def __add__(self, other: RatingSums) -> RatingSums:
        return self.map(np.add, other)


def rating_values(
    predicted: FloatArray, given: FloatArray, lowest: float = 1.0, highest: float = 5.0
) -> Float64Array:
    """(cases, metrics): the value of each of `RATING_METRICS` in each case; the squared error for RMSE.

    Errors are in the ratings' own scale. Accuracies speak of five stars, onto which another scale is put.

    Args:
        predicted: (cases,), put inside the scale first.
        given: (cases,); for accuracies, of five whole stars.
        lowest, highest: ends of the scale.
    """
    unit = (highest - lowest) / 4
    clipped = np.clip(predicted, lowest, highest)
    own, wanted = (1 + (each - lowest) / unit for each in (clipped, given))
    stars, errors = np.floor(own + 0.5), np.abs(own - wanted)
    return np.stack(
        [
            (clipped - given) ** 2,
            np.abs(clipped - given),
            stars == wanted,
            errors <= 1,
            np.abs(stars - wanted) <= 1,
            (stars >= 3) == (wanted >= 3),  # noqa: PLR2004 - the threshold in the metric's name
            (stars >= 4) == (wanted >= 4),  # noqa: PLR2004
        ],
        axis=1,
        dtype=np.float64,
    )


def rating_metrics(values: Float64Array) -> dict[str, Metric]:
    """The sums over the cases, all that a client tells; RMSE is the root of its metric's value."""
    sums = values.sum(axis=0)
    return {
        name: Metric(float(each), float(len(values))) for name, each in zip(RATING_METRICS, sums, strict=True)
    }


def rating_curves(sums: RatingSums) -> dict[str, Float64Array]:
    """Each metric in every replicate, (1 + replicates,); the first is that of the data.

    Args:
        sums: over all clients.
    """
    curves = dict(zip(RATING_METRICS, (sums.totals / sums.cases[:, np.newaxis]).T, strict=True))
    return curves | {RMSE: np.sqrt(curves[RMSE])}


def inside_interval(predicted: FloatArray, deviations: FloatArray, given: FloatArray) -> Metric:
    """How often a rating lies in its 90 % interval: prediction ± 1.645 deviations.

    Args:
        predicted: (cases,).
        deviations: (cases,), standard deviations of the ratings.
        given: (cases,).
    """
    inside = np.abs(predicted - given) <= _Z * deviations
    return Metric(float(inside.sum()), float(len(inside)))
