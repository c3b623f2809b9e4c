"""Scores that are products of points, for which an index finds the best items without a pass over all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.kernel.arrays import FloatArray
from models.recommenders.scoring.fold_in import Rows
from models.recommenders.scoring.reasons import Reason


class PointScores(ABC):
    """The scores of one history, each the product of an item's point with the point of the history."""

    @property
    @abstractmethod
    def scores(self) -> FloatArray:
        """Return the scores (items,) of all items. They are computed when they are first read."""

    @property
    @abstractmethod
    def point(self) -> FloatArray | None:
        """Return the point (n,) of the history; None where the scores are no products."""

    @abstractmethod
    def of(self, rows: Rows) -> FloatArray:
        """Return the scores of these rows, which equal those in `scores` up to rounding."""

    @abstractmethod
    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        """Return the reasons for each of these rows: at most `most`, and the rest as one more."""


class ItemIndex(Protocol):
    """Finds most of the items whose products with a point are the largest."""

    def nearest(self, point: FloatArray, count: int) -> npt.NDArray[np.int64]:
        """Return rows of about `count` items, ascending, each once. Some of the best may be missing.

        Args:
            point: (n,) of a history.
            count: at least 1.
        """
        ...
