"""Items that nobody trained on: placed by their features, among the items that share them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.errors import InvalidInput
from models.federation.arrays import FloatArray

_REGULARISATION = 10.0


def placed_by_features(
    embeddings: FloatArray, biases: FloatArray, trained: npt.NDArray[np.bool_], features: sp.csr_matrix
) -> tuple[FloatArray, FloatArray]:
    """Embeddings (items, dims) and biases (items,) in which the untrained items lie where their features say.

    A ridge regression from features to the embeddings and biases of the trained items, around their mean, and
    its predictions for the others: the simplest of the feature-to-embedding mappings of Gantner et al. 2010.
    An item without any feature lies at the mean of the trained ones. The rows of trained items stay as they
    are.

    Args:
        embeddings, biases: of all items; the rows of untrained ones are ignored.
        trained: (items,) which rows count.
        features: (items, features) of 0 and 1.

    Raises:
        InvalidInput: no item was trained.
    """
    if not trained.any():
        raise InvalidInput("None of the items was trained, so that features cannot place the others.")
    if trained.all():
        return embeddings, biases
    known = np.column_stack([embeddings[trained], biases[trained]]).astype(np.float64)
    mean = known.mean(axis=0)
    seen = features[np.flatnonzero(trained)]
    left = (seen.T @ seen).toarray() + _REGULARISATION * np.eye(features.shape[1])
    weights = np.linalg.solve(left, seen.T @ (known - mean))
    placed = mean + features[np.flatnonzero(~trained)] @ weights
    new_embeddings, new_biases = embeddings.copy(), biases.copy()
    new_embeddings[~trained] = placed[:, :-1]
    new_biases[~trained] = placed[:, -1]
    return new_embeddings, new_biases
