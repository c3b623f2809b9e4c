"""Item factors of iALS, and the computation of a user's vector from a history.

The letters a, l, v, w and h are those of `models.recommenders.additive.ials`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from models.federation.model import ItemModel
from models.kernel.arrays import FloatArray

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ItemFactors(ItemModel):
    """The shared model of iALS. A user's vector follows from it and the user's history alone.

    Attributes:
        embeddings: (items, dims) float32.
        user_step: (3,) float32: a, l and v, the parameters of a user's vector.
        popularity: (items,) float32, number of users of an item; it ranks the items for an empty history.
    """

    AXES: ClassVar[Mapping[str, str]] = {
        "embeddings": "items dims",
        "user_step": "settings",
        "popularity": "items",
    }

    embeddings: FloatArray
    user_step: FloatArray
    popularity: FloatArray

    @property
    def vectors(self) -> FloatArray:
        """Return (items, dims): the embeddings."""
        return self.embeddings


@dataclass(frozen=True)
class UserStep:
    """Fixed items, with the terms that every user's vector needs.

    Attributes:
        items: (items, dims), in the model's precision: a float64 copy would only take memory.
        everything: a sum_i h_i h_i', (dims, dims) float64.
        weight, regularisation, exponent: a, l and v.
    """

    items: FloatArray
    everything: Float64Array
    weight: float
    regularisation: float
    exponent: float

    @classmethod
    def of(cls, model: ItemFactors) -> UserStep:
        """Return the step for the items of this model."""
        items = model.embeddings.astype(np.float64)
        weight, regularisation, exponent = model.user_step.tolist()
        return cls(model.embeddings, weight * (items.T @ items), weight, regularisation, exponent)

    def parts(self, used: npt.NDArray[np.integer], weights: Float64Array | None = None) -> Float64Array:
        """Return (used, dims): the part of each used item in the user's vector that minimises the loss.

        Args:
            used: rows of the used items.
            weights: (used,) weights of these pairs in the loss; 1 by default.
        """
        own = self.items[used].astype(np.float64)
        counted = np.ones(len(used)) if weights is None else weights
        ridge = self.regularisation * (counted.sum() + self.weight * len(self.items)) ** self.exponent
        left = (own.T * counted) @ own + self.everything + ridge * np.eye(self.items.shape[1])
        return np.asarray(np.linalg.solve(left, own.T * counted).T)
