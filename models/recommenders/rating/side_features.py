"""Side features of users and items, for the priors of their factors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.kernel.histories import Float64Array
from models.recommenders.base.ratings import Ratings
from models.recommenders.rating.co_ratings import Directions, user_coordinates

_CO_RATINGS, _COUNT, _CONTENT = 1, 2, 3


@dataclass(frozen=True)
class SideFeatures:
    """Features of users or items.

    Attributes:
        values: (n, features); the first column is 1.
        blocks: (features,), the group of each feature, which share one ridge; 0 is the constant.
    """

    values: Float64Array
    blocks: npt.NDArray[np.int64]


def user_features(directions: Directions, ratings: Ratings) -> SideFeatures:
    """Return the features of a client's users: their coordinates, and how much they rate.

    Args:
        directions: shared by all clients.
        ratings: in training.
    """
    found = directions.strengths > 0
    places = user_coordinates(directions, ratings)
    places = np.divide(places, directions.strengths, out=np.zeros_like(places), where=found)
    users = max(directions.users[0], 1.0)
    usual = directions.item_ratings.sum() / users
    counts = np.log1p(ratings.counts) - np.log1p(usual)
    return _joined(len(ratings), [(_CO_RATINGS, places * np.sqrt(users)), (_COUNT, counts[:, np.newaxis])])


def user_feature_blocks(directions: Directions) -> npt.NDArray[np.int64]:
    """Return (features,): the blocks of `user_features`, for callers without users."""
    return _blocks([(_CO_RATINGS, len(directions.strengths)), (_COUNT, 1)])


def item_features(directions: Directions, content: Float64Array) -> SideFeatures:
    """Return the features of all items: their coordinates, how often they are rated, and their content.

    Args:
        directions: shared by all clients.
        content: (items, features) such as genres and years; may have no column.
    """
    n_items = len(directions.items)
    counts = np.log1p(directions.item_ratings)
    blocks = [
        (_CO_RATINGS, directions.items * np.sqrt(n_items)),
        (_COUNT, (counts - counts.mean())[:, np.newaxis]),
        (_CONTENT, np.asarray(content, dtype=np.float64)),
    ]
    return _joined(n_items, blocks)


def _joined(n: int, blocks: list[tuple[int, Float64Array]]) -> SideFeatures:
    values = np.concatenate([np.ones((n, 1)), *(values for _, values in blocks)], axis=1)
    return SideFeatures(values, _blocks([(block, values.shape[1]) for block, values in blocks]))


def _blocks(sizes: list[tuple[int, int]]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), *(np.full(size, block) for block, size in sizes)])
