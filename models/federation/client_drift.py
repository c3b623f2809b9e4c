"""Client drift: each contribution of a round compared with the sum of all, for reports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.kernel.arrays import ArrayGroup
from models.kernel.packed import PackedArrays, selection_of


@dataclass(frozen=True)
class ClientDrift:
    """One client's contribution compared with the sum of all clients'.

    Attributes:
        norm: its length divided by that of the sum.
        cosine: cosine of the angle between the two: 1 if both have the same direction, 0 at a right angle, -1
            if they are opposite.

    norm * cosine is the client's share of the sum; the shares of all clients add up to 1.
    """

    norm: float
    cosine: float


@dataclass(frozen=True)
class MergedDirection:
    """The sum of all contributions, as the direction with which each one is compared.

    Attributes:
        total: the sum, float64.
        length: norm of its directional arrays together.
    """

    total: ArrayGroup
    length: float

    @classmethod
    def of(cls, total: ArrayGroup) -> MergedDirection:
        """Return the direction of a sum."""
        return cls(total, math.sqrt(_square(total)))

    def drift_of(self, arrays: ArrayGroup | PackedArrays[Any]) -> ClientDrift:
        """Return a contribution compared with the sum; zeros if either is zero."""
        length = math.sqrt(_square(arrays))
        if not length or not self.length:
            return ClientDrift(0.0, 0.0)
        cosine = _product(arrays, self.total) / (length * self.length)
        # Rounding may lead to values just beyond 1.
        return ClientDrift(length / self.length, min(1.0, max(-1.0, cosine)))


def _square(arrays: ArrayGroup | PackedArrays[Any]) -> float:
    """Return the squared length of the directional arrays."""
    values = dict(arrays.named())
    found = [values[name].astype(np.float64, copy=False) for name in arrays.directional]
    return float(sum(np.vdot(each, each) for each in found))


def _product(one: ArrayGroup | PackedArrays[Any], total: ArrayGroup) -> float:
    """Return the inner product of the directional arrays with those of the sum."""
    ours, theirs = dict(one.named()), dict(total.named())
    return float(
        sum(
            np.vdot(
                ours[name].astype(np.float64),
                theirs[name][selection_of(one, name)].astype(np.float64, copy=False),
            )
            for name in one.directional
        )
    )
