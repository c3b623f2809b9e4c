"""Traditional collaborative filtering on pooled ratings, for comparison; neighbours and SGD by Surprise.

Surprise (Hug 2020, "Surprise: A Python library for recommender systems") is an optional dependency, which
only comparisons need: `pip install 'fedrec[bench]'`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from models.errors import NotFound
from models.recommenders.base.ratings import Ratings
from tasks.bench.ratings.cases import SplitSilo

Predictor = Callable[[SplitSilo], np.ndarray]

_SCALE = (1.0, 5.0)


def global_mean(data: SplitSilo) -> np.ndarray:
    """Predict the mean of all ratings for every pair."""
    return np.full(len(data.held_out.values), data.training.values.mean())


def user_mean(data: SplitSilo) -> np.ndarray:
    """Predict the mean of the user's ratings, or of all ratings for a user without any.

    A user's mean is all that a client of one user can know without the others.
    """
    return _means(data.training.users, data.training, len(data.training))[data.held_out.users]


def item_mean(data: SplitSilo) -> np.ndarray:
    """Predict the mean of the item's ratings, or of all ratings for an item without any."""
    return _means(data.training.items, data.training, data.training.n_items)[data.held_out.items]


def surprise(algorithm: str, **options: Any) -> Predictor:
    """Return a predictor from Surprise's algorithm of this class name."""

    def predict(data: SplitSilo) -> np.ndarray:
        library = _library()
        model = getattr(library, algorithm)(**options)
        frame = pd.DataFrame(
            {"user": data.training.users, "item": data.training.items, "rating": data.training.values}
        )
        reader = library.Reader(rating_scale=_SCALE)
        model.fit(library.Dataset.load_from_df(frame, reader).build_full_trainset())
        pairs = zip(data.held_out.users.tolist(), data.held_out.items.tolist(), strict=True)
        return np.array([model.predict(user, item).est for user, item in pairs])

    return predict


def neighbours(of_users: bool, k: int, shrinkage: int = 100) -> Predictor:
    """Return a predictor by the k nearest users or items.

    Similarity is the shrunk correlation of the ratings minus the biases (Koren 2010, eq. 2).
    """
    similarity = {"name": "pearson_baseline", "user_based": of_users, "shrinkage": shrinkage}
    quiet = {"verbose": False, "bsl_options": {"method": "als"}}
    return surprise("KNNBaseline", k=k, sim_options=similarity, **quiet)


# Each has the best of the settings that benchmarks/rating_search.py tried on validation ratings.
BASELINES: dict[str, Predictor] = {
    "global_mean": global_mean,
    "user_mean": user_mean,
    "item_mean": item_mean,
    "biases": surprise("BaselineOnly", verbose=False),
    "user_knn": neighbours(of_users=True, k=40),
    "item_knn": neighbours(of_users=False, k=40),
    "biased_mf": surprise("SVD", random_state=0, n_epochs=40, n_factors=50, reg_all=0.1),
    "svd++": surprise("SVDpp", random_state=0, cache_ratings=True, n_factors=10),
}
SLOW_BASELINES = ("svd++",)


def _means(rows: np.ndarray, ratings: Ratings, n: int) -> np.ndarray:
    counts = np.bincount(rows, minlength=n)
    sums = np.bincount(rows, weights=ratings.values, minlength=n)
    return np.where(counts > 0, sums / np.maximum(counts, 1), ratings.values.mean())


def _library() -> Any:
    try:
        import surprise as library
    except ModuleNotFoundError as error:
        raise NotFound(
            "The baselines need Surprise, which is not installed.",
            next_step="Install it: pip install 'fedrec[bench]'. Or leave them out: --without-baselines.",
        ) from error
    return library
