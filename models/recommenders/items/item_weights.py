"""Linear item-to-item models: the memory of a history, times weights.

EASE and the next-item model differ in training and in the memory of a history. Both score in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from models.federation.model import ItemModel
from models.kernel.arrays import FloatArray

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ItemWeights(ItemModel):
    """The shared item-to-item model: one matrix of weights for each kind of memory.

    Attributes:
        weights: (memories, items, items) float32, the weight of the row's item for the column's item.
        forgetting: (memories,) float32. An item used k places before has the weight k^-forgetting, so 0
            remembers all items equally.
        popularity: (items,) float32, number of uses of an item; it ranks the items for an empty history.
    """

    AXES: ClassVar[Mapping[str, str]] = {
        "weights": "memories items items",
        "forgetting": "memories",
        "popularity": "items",
    }

    weights: FloatArray
    forgetting: FloatArray
    popularity: FloatArray

    @classmethod
    def of(cls, weights: npt.NDArray[np.floating], forgetting: float, popularity: FloatArray) -> ItemWeights:
        """Return the model of one memory: (items, items) weights."""
        return cls(
            weights.astype(np.float32)[np.newaxis],
            np.array([forgetting], dtype=np.float32),
            popularity.astype(np.float32),
        )

    @classmethod
    def zero(cls, n_items: int, memories: int = 1) -> ItemWeights:
        """Return the untrained model, whose weights are zero."""
        shapes = ((memories, n_items, n_items), (memories,), (n_items,))
        return cls(*(np.zeros(shape, dtype=np.float32) for shape in shapes))

    # Built once, because contracts and drift use it several times in a round.
    @cached_property
    def vectors(self) -> FloatArray:
        """Return (items, memories * items): the weights of each item for all others; read-only."""
        memories, items, _ = self.weights.shape
        laid_out = np.asarray(self.weights.transpose(1, 0, 2).reshape(items, memories * items))
        laid_out.flags.writeable = False
        return laid_out


def remembered(steps_back: npt.NDArray[np.integer], forgetting: float) -> Float64Array:
    """Return (n,): the memory of items after which `steps_back` (n,) others were used; 1 for the latest."""
    return np.asarray(np.power(steps_back + 1.0, -forgetting))
