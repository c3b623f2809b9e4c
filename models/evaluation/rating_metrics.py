"""Metrics of predicted ratings, as sums that can be added over clients.

"Accuracy" of ratings has several definitions with very different values, so each definition has its own name.
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
# In the order of the tables. "Rounded" is the prediction rounded half up to whole stars.
RATING_METRICS = (
    RMSE,  # root of the mean squared error
    "mae",  # mean absolute error
    "accuracy_exact",  # rounded equals the rating
    "accuracy_within_1",  # the prediction is at most one star from the rating
    "accuracy_rounded_within_1",  # rounded is at most one star from the rating
    "accuracy_like_at_3",  # rounded and the rating are both at least 3 or both below 3
    "accuracy_like_at_4",  # the same with 4
)
# Share of ratings inside their 90 % interval.
INSIDE_90 = "inside_90"
# The 95 % point of the standard normal distribution: 90 % lie between its 5 % and 95 % points.
_Z = 1.6448536


@dataclass(frozen=True)
class RatingSums(ArrayGroup):
    """Sums over the cases of a client, or of all clients after addition.

    Attributes:
        totals: (1 + replicates, metrics), sum of each metric's values; of the squared errors for RMSE.
        cases: (1 + replicates,), number of cases in the sums.
    """

    totals: Float64Array
    cases: Float64Array

    @classmethod
    def of(cls, values: Float64Array, users: IntArray, weights: IntArray) -> RatingSums:
        """Return the sums over these cases.

        Args:
            values: (cases, metrics), from `rating_values`.
            users: (cases,), the user row of each case.
            weights: (1 + replicates, users), from `replicate_weights`.
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
    """Return the values of `RATING_METRICS` in each case, (cases, metrics); the squared error for RMSE.

    Errors are in the scale of the ratings. Accuracies are in five stars, onto which other scales are mapped.

    Args:
        predicted: (cases,); values outside the scale are clipped.
        given: (cases,); the accuracies assume that they are five whole stars after the mapping.
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
    """Return the sum of each of `RATING_METRICS` over the cases. A client reports only these sums.

    RMSE is the root of its metric's value.
    """
    sums = values.sum(axis=0)
    return {
        name: Metric(float(total), float(len(values)))
        for name, total in zip(RATING_METRICS, sums, strict=True)
    }


def rating_curves(sums: RatingSums) -> dict[str, Float64Array]:
    """Return each metric in every replicate, (1 + replicates,); the first is the value on the data.

    Args:
        sums: the sums over all clients.
    """
    curves = dict(zip(RATING_METRICS, (sums.totals / sums.cases[:, np.newaxis]).T, strict=True))
    return curves | {RMSE: np.sqrt(curves[RMSE])}


def inside_interval(predicted: FloatArray, deviations: FloatArray, given: FloatArray) -> Metric:
    """Return how often a rating lies in its 90 % interval, prediction ± 1.645 standard deviations.

    Args:
        predicted: (cases,), predicted ratings.
        deviations: (cases,), standard deviations of the ratings.
        given: (cases,), true ratings.
    """
    inside = np.abs(predicted - given) <= _Z * deviations
    return Metric(float(inside.sum()), float(len(inside)))
