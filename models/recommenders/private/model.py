"""The shared model of the private item model: item-to-item weights, and features of the items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from models.kernel.arrays import FloatArray
from models.recommenders.items.item_weights import ItemWeights


@dataclass(frozen=True)
class ContentWeights(ItemWeights):
    """Item-to-item weights with public features of the items.

    Attributes:
        weights, forgetting, popularity: as in `ItemWeights`. The popularity is a noisy sum and may be
            negative.
        content: (items, contents) float32. Before the first round these are the features, after it the
            orthonormal basis on which users' profiles are taken.
    """

    AXES: ClassVar[Mapping[str, str]] = {**ItemWeights.AXES, "content": "items contents"}

    content: FloatArray

    @property
    def is_started(self) -> bool:
        """Return whether the first round has been merged."""
        return bool(self.popularity.any())
