"""Synthetic models for the serving benchmark, with the shape of trained ones, and histories that fit them."""

from __future__ import annotations

import numpy as np

from models.federation.model import ItemArrays
from models.kernel.arrays import FloatArray
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.scoring.additive_scorers import WeightsScorer
from models.recommenders.scoring.fold_in import ItemSide
from models.recommenders.scoring.scorer import Factors

DIMS = 64
_HISTORY = 10
_SEED = 1
# Of WARP embeddings of MovieLens-1M with 64 dims: the power by which their singular values fall, their mean
# length, and the deviation of the biases.
_FALL = 0.45
_LENGTH = 2.5
_BIAS = 0.5
# Of the biases' variance, the part that the items of a theme share: similar items are about as popular.
_SHARED = 0.75
# Items lie around themes. Their deviation from a theme, over that of the themes.
_SPREAD = 0.5
_ITEMS_PER_THEME = 250
# A user likes two themes, and has used some of the best items among this number of them.
_THEMES_OF_USER = 2
_SEEN = 20_000
_LIKED = 100


def embeddings_and_biases(items: int) -> ItemArrays:
    """Return the arrays of a LightFM model with this number of items."""
    random = np.random.default_rng(_SEED)
    fall = (1 + np.arange(DIMS, dtype=np.float32)) ** np.float32(-_FALL)
    themes = _drawn(random, max(1, items // _ITEMS_PER_THEME), fall)
    theme_of = random.integers(0, len(themes), items)
    embeddings = themes[theme_of] + _drawn(random, items, fall * np.float32(_SPREAD))
    embeddings *= _LENGTH / np.sqrt(np.square(embeddings[:_SEEN]).sum(axis=1).mean())
    popular, own = (random.standard_normal(count, dtype=np.float32) for count in (len(themes), items))
    biases = np.sqrt(_SHARED) * _BIAS * popular[theme_of] + np.sqrt(1 - _SHARED) * _BIAS * own
    biases = biases.astype(np.float32)
    # Not 1, because training changes these sums.
    sums = np.full_like(biases, np.float32(2.0))
    return ItemArrays(embeddings, biases, sums, sums)


def factors(model: ItemArrays) -> Factors:
    """Return the scorer of a LightFM model."""
    return Factors.of(ItemSide.of(model.embeddings, model.biases))


def blend(items: int) -> WeightsScorer:
    """Return the scorer of a blend with this number of items."""
    random = np.random.default_rng(_SEED)
    weights = random.standard_normal((2, items, items), dtype=np.float32)
    popularity = random.standard_normal(items, dtype=np.float32)
    return WeightsScorer.of(ItemWeights(weights, np.array([0.75, 0.7], dtype=np.float32), popularity))


def histories(model: ItemArrays, count: int) -> list[list[str]]:
    """Return the item ids of the histories of users, each of whom likes items like two items of the model."""
    random = np.random.default_rng(_SEED + 1)
    found = []
    for _ in range(count):
        seen = random.choice(len(model.biases), min(_SEEN, len(model.biases)), replace=False)
        user = model.embeddings[seen[:_THEMES_OF_USER]].mean(axis=0)
        scores = model.embeddings[seen] @ user + model.biases[seen]
        liked = seen[np.argsort(-scores, kind="stable")[:_LIKED]]
        found.append([str(row) for row in random.choice(liked, min(_HISTORY, len(liked)), replace=False)])
    return found


def _drawn(random: np.random.Generator, count: int, fall: FloatArray) -> FloatArray:
    return np.asarray(random.standard_normal((count, DIMS), dtype=np.float32) * fall)
