"""Places untrained items by their features, near the trained items that share them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray
from models.recommenders.items.item_weights import ItemWeights

if TYPE_CHECKING:
    import scipy.sparse as sp

REGULARISATION = 10.0


@dataclass(frozen=True)
class Placement:
    """A ridge regression from features to values of trained items, which predicts the values of the others.

    It is the simplest of the feature-to-factor mappings of Gantner et al. 2010 ("Learning
    Attribute-to-Feature Mappings for Cold-Start Recommendations"). It is linear, so placing vectors and
    multiplying them with a user's vector gives the same as placing the user's scores.

    Attributes:
        trained: (items,) whether an item is trained.
        solver: (features, trained items), maps the items' values to the features' weights.
        others: (untrained items, features).
    """

    trained: npt.NDArray[np.bool_]
    solver: FloatArray
    others: sp.csr_matrix

    @classmethod
    def of(
        cls,
        trained: npt.NDArray[np.bool_],
        features: sp.csr_matrix,
        regularisation: float = REGULARISATION,
    ) -> Placement:
        """Return the regression on these features (items, features).

        Raises:
            InvalidInput: no item was trained.
        """
        if not trained.any():
            raise InvalidInput("No item was trained, so features cannot place the others.")
        seen = features[np.flatnonzero(trained)]
        left = (seen.T @ seen).toarray() + regularisation * np.eye(features.shape[1])
        solver = np.linalg.solve(left, seen.T.toarray())
        return cls(trained, solver, features[np.flatnonzero(~trained)])

    def placed(self, values: FloatArray) -> FloatArray:
        """Return values (items, n) with the untrained rows placed around the mean of the trained ones.

        The rows of trained items stay as they are. The rows of untrained ones are ignored. An item without
        features is placed at the mean.
        """
        known = values[self.trained].astype(np.float64)
        mean = known.mean(axis=0)
        new = values.copy()
        new[~self.trained] = mean + self.others @ (self.solver @ (known - mean))
        return new


def placed_rows(values: FloatArray, trained: npt.NDArray[np.bool_], features: sp.csr_matrix) -> FloatArray:
    """Return values (items, n) with untrained rows placed; unchanged if all items or none are trained."""
    if trained.all() or not trained.any():
        return values
    return Placement.of(trained, features).placed(values)


def placed_weights(model: ItemWeights, features: sp.csr_matrix) -> ItemWeights:
    """Return the model with the weights of untrained items placed by their features."""
    known = np.asarray(model.weights.any(axis=(0, 1)))
    placed = [placed_rows(own.T, known, features).T for own in model.weights]
    # In the memory layout of an array that is read from a file, so that sums have the same order.
    return replace(model, weights=np.ascontiguousarray(np.stack(placed)))


def placed_by_features(
    embeddings: FloatArray, biases: FloatArray, trained: npt.NDArray[np.bool_], features: sp.csr_matrix
) -> tuple[FloatArray, FloatArray]:
    """Return embeddings (items, dims) and biases (items,) with the untrained items placed by their features.

    Args:
        embeddings, biases: of all items. The rows of untrained items are ignored.
        trained: (items,) whether an item is trained.
        features: (items, features) of 0 and 1.

    Raises:
        InvalidInput: no item was trained.
    """
    if trained.all():
        return embeddings, biases
    placement = Placement.of(trained, features)
    return placement.placed(embeddings), placement.placed(biases[:, np.newaxis])[:, 0]
