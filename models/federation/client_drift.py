"""Where the clients of a round point: each contribution beside the sum of all, for people to look at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.kernel.arrays import ArrayGroup


@dataclass(frozen=True)
class ClientDrift:
    """One client's contribution beside the sum of all clients'.

    Attributes:
        norm: its length divided by that of the sum.
        cosine: of the angle between the two: 1 where it points where all went together, 0 where it has
            nothing to do with it, -1 where it points back.

    norm * cosine is the client's part of the way; the parts of all clients add up to 1.
    """

    norm: float
    cosine: float


@dataclass(frozen=True)
class MergedDirection:
    """The sum of all contributions, as the direction that single ones are held against.

    Attributes:
        total: the sum, float64.
        length: of its directional arrays together.
    """

    total: ArrayGroup
    length: float

    @classmethod
    def of(cls, total: ArrayGroup) -> MergedDirection:
        """The direction of a sum."""
        return cls(total, math.sqrt(_product(total, total)))

    def drift_of(self, contribution: ArrayGroup, weight: float = 1.0) -> ClientDrift:
        """How a contribution that was added with this weight lies to the sum; zeros where either is zero."""
        length = math.sqrt(_product(contribution, contribution))
        if not length or not self.length:
            return ClientDrift(0.0, 0.0)
        cosine = _product(contribution, self.total) / (length * self.length)
        # Rounding may lead just beyond.
        return ClientDrift(weight * length / self.length, min(1.0, max(-1.0, cosine)))


def _product(one: ArrayGroup, other: ArrayGroup) -> float:
    """The inner product of what two groups move."""
    ours, theirs = dict(one.named()), dict(other.named())
    return float(
        sum(
            np.vdot(ours[name].astype(np.float64), theirs[name].astype(np.float64, copy=False))
            for name in one.directional
        )
    )
