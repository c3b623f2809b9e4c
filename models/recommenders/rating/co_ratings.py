"""Directions of co-rating: features from who rated which items. Sums over users can find them.

With Y the matrix of 1 / sqrt(n_u m_i) for each rated pair, n_u ratings of the user and m_i of the item, the
leading singular vectors of Y place together items that the same people choose to rate (Dhillon 2001,
"Co-clustering documents and words using bipartite spectral graph partitioning", section 4). An item's
coordinates describe its audience; a user's describe the user's choice of items. That is the implicit signal
of SVD++ (Koren 2008) and of its mirror image on the side of items (Rendle et al. 2019, "On the Difficulty of
Evaluating Baselines", section 4).

Y'Y is a sum over users. The matrix grows with the square of the number of items, so it is only multiplied, by
subspace iteration (Halko et al. 2011, algorithm 4.4), of which a client computes Y_c'(Y_c Q), (items, k).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Float64Array, IntArray
from models.kernel.seeds import generator_for
from models.recommenders.base.ratings import Ratings

# Directions beyond those wanted make subspace iteration converge sooner (Halko et al. 2011, section 4.2).
_OVERSAMPLING = 10


@dataclass(frozen=True)
class RatingCounts(ArrayGroup):
    """A client's counts, by which everything else is scaled.

    Attributes:
        item_ratings: (items,), number of ratings of each item.
        rating_sum: (1,), the sum of all ratings.
        users: (1,), number of users.
    """

    AXES: ClassVar[Mapping[str, str]] = {"item_ratings": "items", "rating_sum": "one", "users": "one"}
    GROWING: ClassVar[frozenset[str]] = frozenset({"item_ratings", "users"})

    item_ratings: FloatArray
    rating_sum: FloatArray
    users: FloatArray

    @classmethod
    def of(cls, ratings: Ratings) -> RatingCounts:
        """Return the sums over these users."""
        return cls(
            np.bincount(ratings.items, minlength=ratings.n_items).astype(np.float64),
            np.array([ratings.values.sum()]),
            np.array([len(ratings)], dtype=np.float64),
        )

    @property
    def mean(self) -> float:
        """Return the mean rating; 0 without ratings."""
        return float(self.rating_sum[0] / max(1.0, self.item_ratings.sum()))


@dataclass(frozen=True)
class Directions(ArrayGroup):
    """The shared directions of co-rating.

    Attributes:
        items: (items, k), orthonormal columns: right singular vectors of Y, the strongest first.
        strengths: (k,), their singular values.
        item_ratings: (items,), as counted.
        users: (1,), as counted.
    """

    items: FloatArray
    strengths: FloatArray
    item_ratings: FloatArray
    users: FloatArray


@dataclass(frozen=True)
class Products(ArrayGroup):
    """A client's part of one multiplication.

    Attributes:
        products: (items, k) float32, Y_c'(Y_c Q).
    """

    AXES: ClassVar[Mapping[str, str]] = {"products": "items directions"}

    products: FloatArray


def columns_for(wanted: int, n_items: int) -> int:
    """Return the number of columns to iterate on so that the first `wanted` converge soon."""
    return min(wanted + _OVERSAMPLING, n_items)


def initial_directions(counts: RatingCounts, k: int, seed: int) -> Directions:
    """Return random orthonormal columns.

    Args:
        counts: over all clients.
        k: number of columns, at most the number of items.
        seed: the job's seed.
    """
    drawn = generator_for(seed, "directions").normal(size=(len(counts.item_ratings), k))
    basis, _ = np.linalg.qr(drawn)
    return Directions(basis, np.ones(basis.shape[1]), counts.item_ratings, counts.users)


def user_coordinates(directions: Directions, ratings: Ratings) -> Float64Array:
    """Return (users, k): Y Q, the coordinates of each user."""
    rated = ratings.rated
    scaled = directions.items[rated] / _roots(directions, rated)
    return np.asarray(ratings.matrix() @ scaled) / np.sqrt(np.maximum(ratings.counts, 1))[:, np.newaxis]


def products(directions: Directions, ratings: Ratings) -> Products:
    """Return the client half of a round."""
    places = user_coordinates(directions, ratings) / np.sqrt(np.maximum(ratings.counts, 1))[:, np.newaxis]
    back = np.asarray(ratings.matrix().T @ places)
    return Products(ratings.spread(back / _roots(directions, ratings.rated)))


def next_directions(directions: Directions, total: Products) -> Directions:
    """Return the server half of a round: the space of Y'Y Q."""
    basis, _ = np.linalg.qr(total.products)
    return replace(directions, items=basis)


def singular_directions(directions: Directions, total: Products, k: int) -> Directions:
    """Return the server half of the last round: the space's k strongest singular vectors (Rayleigh-Ritz)."""
    inner = directions.items.T @ total.products
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    strongest = np.argsort(-values)[:k]
    vectors = vectors[:, strongest]
    # A vector's sign is arbitrary: its largest entry is made positive, so that rounding cannot turn it.
    items = directions.items @ vectors
    items *= np.sign(items[np.abs(items).argmax(axis=0), np.arange(items.shape[1])])
    return replace(directions, items=items, strengths=np.sqrt(np.maximum(values[strongest], 0.0)))


def _roots(directions: Directions, rated: IntArray) -> Float64Array:
    # A client that missed the counting round may have items that no other client has.
    return np.asarray(np.sqrt(np.maximum(directions.item_ratings[rated], 1.0))[:, np.newaxis])
