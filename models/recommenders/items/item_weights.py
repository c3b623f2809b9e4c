"""Linear models from items to items: what a history remembers, times weights.

EASE and the next-item model differ in how the weights come about and in what is remembered; both answer
alike.
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
    """The shared model: one matrix of weights for each way to remember.

    Attributes:
        weights: (memories, items, items) float32; how much the item of a row speaks for that of a column.
        forgetting: (memories,) float32; an item used k places before is remembered as k^-forgetting,
            so that 0 remembers all items alike.
        popularity: (items,) float32, how often an item was used; orders the items for nobody in particular.
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
        """Return the model that has learned nothing."""
        shapes = ((memories, n_items, n_items), (memories,), (n_items,))
        return cls(*(np.zeros(shape, dtype=np.float32) for shape in shapes))

    # Laid out once: contracts and drift ask for it several times a round.
    @cached_property
    def vectors(self) -> FloatArray:
        """(items, memories * items): what each item speaks for; read-only."""
        memories, items, _ = self.weights.shape
        laid_out = np.asarray(self.weights.transpose(1, 0, 2).reshape(items, memories * items))
        laid_out.flags.writeable = False
        return laid_out


def remembered(steps_back: npt.NDArray[np.integer], forgetting: float) -> Float64Array:
    """Return (n,): the weight of items after which `steps_back` (n,) others were used; 1 for the latest."""
    return np.asarray(np.power(steps_back + 1.0, -forgetting))
