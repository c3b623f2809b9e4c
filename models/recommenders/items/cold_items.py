"""Items that nobody trained on: placed by their features, among the items that share them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray
from models.recommenders.items.item_weights import ItemWeights

REGULARISATION = 10.0


@dataclass(frozen=True)
class Placement:
    """A ridge regression from features to whatever is known of trained items: it guesses that of the others.

    The simplest of the feature-to-factor mappings of Gantner et al. 2010 ("Learning Attribute-to-Feature
    Mappings for Cold-Start Recommendations"). It is linear: to place vectors and multiply them
    with a user's is to place the user's scores.

    Attributes:
        trained: (items,) which items are known.
        solver: (features, trained items), from what is known of the items to the features' weights.
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
            raise InvalidInput("None of the items was trained, so that features cannot place the others.")
        seen = features[np.flatnonzero(trained)]
        left = (seen.T @ seen).toarray() + regularisation * np.eye(features.shape[1])
        solver = np.linalg.solve(left, seen.T.toarray())
        return cls(trained, solver, features[np.flatnonzero(~trained)])

    def placed(self, values: FloatArray) -> FloatArray:
        """Return values (items, n) with the untrained rows placed around the mean of the trained ones.

        The rows of trained items stay as they are, those of untrained ones are ignored. An item without any
        feature lies at the mean.
        """
        known = values[self.trained].astype(np.float64)
        mean = known.mean(axis=0)
        new = values.copy()
        new[~self.trained] = mean + self.others @ (self.solver @ (known - mean))
        return new


def placed_rows(values: FloatArray, trained: npt.NDArray[np.bool_], features: sp.csr_matrix) -> FloatArray:
    """Return values (items, n) with untrained rows placed; unchanged if all items are trained, or none."""
    if trained.all() or not trained.any():
        return values
    return Placement.of(trained, features).placed(values)


def placed_weights(model: ItemWeights, features: sp.csr_matrix) -> ItemWeights:
    """Return the model with the items placed by their features that have no weights of their own."""
    known = np.asarray(model.weights.any(axis=(0, 1)))
    placed = [placed_rows(own.T, known, features).T for own in model.weights]
    # Laid out as read from a file, so that sums run in the same order.
    return replace(model, weights=np.ascontiguousarray(np.stack(placed)))


def placed_by_features(
    embeddings: FloatArray, biases: FloatArray, trained: npt.NDArray[np.bool_], features: sp.csr_matrix
) -> tuple[FloatArray, FloatArray]:
    """Return embeddings (items, dims) and biases (items,) with the untrained items placed by their features.

    Args:
        embeddings, biases: of all items; the rows of untrained ones are ignored.
        trained: (items,) which rows count.
        features: (items, features) of 0 and 1.

    Raises:
        InvalidInput: no item was trained.
    """
    if trained.all():
        return embeddings, biases
    placement = Placement.of(trained, features)
    return placement.placed(embeddings), placement.placed(biases[:, np.newaxis])[:, 0]
