"""Naive recommenders for a cold start, which need no trained model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import scipy.sparse as sp

from models.evaluation.cold_start import Mask
from models.kernel.histories import Float64Array
from models.kernel.seeds import generator_for
from models.recommenders.items.cold_items import Placement
from models.recommenders.items.features import ItemFeatures
from tasks.bench.quality.arms import Trained
from tasks.bench.quality.cases import BenchClient, Learner

YEAR, GENRES = "year", "genres"
# The best of 3, 10, 30 and 100 on the validation items of MovieLens-100K.
_GENRE_REGULARISATION = 30.0


def popularity(learners: Iterable[Learner], n_items: int) -> Float64Array:
    """Return (items,), the number of these learners' users who used each item."""
    counts = np.zeros(n_items)
    for learner in learners:
        counts += np.bincount(learner.histories.items, minlength=n_items)
    return counts


def same_for_all(scores: np.ndarray) -> Trained:
    """Return a recommender with the same scores (items,) for every user."""
    return Trained(lambda client: np.tile(scores, (len(client.user_ids), 1)))


def at_random(n_items: int, seed: int) -> Trained:
    """Return a recommender that ranks the items at random for each user."""

    def scores(client: BenchClient) -> np.ndarray:
        return generator_for(seed, "random", client.id).random((len(client.user_ids), n_items))

    return Trained(scores)


def newest(items: pd.DataFrame, seed: int) -> Trained | None:
    """Return a recommender that ranks later years first and items of one year at random.

    It is None if the catalogue has no column of years.
    """
    if YEAR not in items:
        return None
    years = pd.to_numeric(items[YEAR], errors="coerce").fillna(0.0).to_numpy(dtype=np.float64)
    return same_for_all(years + generator_for(seed, "newest").random(len(years)) / 2)


def genre_popularity(items: pd.DataFrame, counts: Float64Array, trained: Mask) -> Trained | None:
    """Return a recommender that ranks new items by the popularity of trained items of the same genres.

    It is None if the catalogue has no column of genres.
    """
    if GENRES not in items:
        return None
    genres = ItemFeatures.of(items[[GENRES]]).matrix()
    placement = Placement.of(trained, genres, _GENRE_REGULARISATION)
    return same_for_all(placement.placed(counts[:, np.newaxis])[:, 0])


def content(features: sp.csr_matrix) -> Trained:
    """Return a recommender by the mean cosine of an item's features with those of a user's history."""
    lengths = np.sqrt(np.asarray(features.multiply(features).sum(axis=1))).ravel()
    units = sp.diags(1.0 / np.where(lengths > 0.0, lengths, 1.0)) @ features

    def scores(client: BenchClient) -> np.ndarray:
        return np.asarray((client.histories.matrix() @ units @ units.T).toarray())

    return Trained(scores)
