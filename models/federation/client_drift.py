"""Client drift: each contribution of a round compared with the sum of all, for reports."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.kernel.arrays import ArrayGroup


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
        return cls(total, math.sqrt(_product(total, total)))

    def drift_of(self, arrays: ArrayGroup) -> ClientDrift:
        """Return a contribution compared with the sum; zeros if either is zero."""
        length = math.sqrt(_product(arrays, arrays))
        if not length or not self.length:
            return ClientDrift(0.0, 0.0)
        cosine = _product(arrays, self.total) / (length * self.length)
        # Rounding may lead to values just beyond 1.
        return ClientDrift(length / self.length, min(1.0, max(-1.0, cosine)))


def _product(one: ArrayGroup, other: ArrayGroup) -> float:
    """Return the inner product of the directional arrays of two groups."""
    ours, theirs = dict(one.named()), dict(other.named())
    return float(
        sum(
            np.vdot(ours[name].astype(np.float64), theirs[name].astype(np.float64, copy=False))
            for name in one.directional
        )
    )
