"""What a client adds up over its users, so that each user's part has at most a known length.

Let x be a user's items as a vector of 0 and 1, and n their number. The user's parts are

    popularity   x / |x|                                                   of length 1
    pairs        u u' with u = x_S / |x_S|, over the most popular items S  of Frobenius norm 1
    content      p p' with p = Q'x / |x|, shortened to |p| <= c            of Frobenius norm c²

with a public orthonormal basis Q (items, contents) of item features. Triangles, steps and rounding are those
of `models.recommenders.items.unit_pairs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Float64Array, Histories
from models.kernel.ranges import Range
from models.recommenders.items.symmetric import triangle_size
from models.recommenders.items.unit_pairs import RANGE, STEP, unit_pairs

# Keeps a shortened profile, whose length is rounded, from being too long.
_INSIDE = 1.0 - 2.0**-40
_USERS_AT_ONCE = 4096


@dataclass(frozen=True)
class PopularitySums(ArrayGroup):
    """A client's sums of the first round, float32.

    Attributes:
        popularity: (items,), sum of x / |x|.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"popularity": RANGE}
    AXES: ClassVar[Mapping[str, str]] = {"popularity": "items"}

    popularity: FloatArray


@dataclass(frozen=True)
class PairSums(ArrayGroup):
    """A client's sums of the second round, float32.

    Attributes:
        content: (triangle of contents,), sum of p p'.
        pairs: (triangle of the popular items,), sum of u u'.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"content": RANGE, "pairs": RANGE}
    AXES: ClassVar[Mapping[str, str]] = {"content": "content-triangle", "pairs": "triangle"}

    content: FloatArray
    pairs: FloatArray


def popularity_sums(histories: Histories) -> PopularitySums:
    """Return the sums of the first round over these users."""
    lengths = np.diff(histories.starts)
    parts = np.floor(1.0 / (STEP * np.sqrt(np.maximum(lengths, 1))))
    steps = np.bincount(histories.items, np.repeat(parts, lengths), minlength=histories.n_items)
    return PopularitySums((steps * STEP).astype(np.float32))


def pair_sums(
    histories: Histories, paired: npt.NDArray[np.int64], basis: FloatArray, content_norm: float
) -> PairSums:
    """Return the sums of the second round over these users.

    Args:
        histories: of the users.
        paired: (popular items,) rows of S.
        basis: (items, contents), Q.
        content_norm: c.
    """
    return PairSums(
        content=_content(histories, basis.astype(np.float64), content_norm),
        pairs=unit_pairs(histories, paired),
    )


def no_pairs(contents: int, paired: int) -> PairSums:
    """Return the sums over no users."""
    sizes = (triangle_size(contents), triangle_size(paired))
    return PairSums(*(np.zeros(size, dtype=np.float32) for size in sizes))


def _content(histories: Histories, basis: Float64Array, norm: float) -> FloatArray:
    lengths = np.maximum(np.diff(histories.starts), 1)
    profiles = (histories.matrix() @ basis) / np.sqrt(lengths)[:, np.newaxis]
    long = np.sqrt(np.square(profiles).sum(axis=1, keepdims=True))
    profiles *= np.minimum(1.0, _INSIDE * norm / np.maximum(long, norm))
    rows, columns = np.triu_indices(basis.shape[1])
    factors = np.where(rows == columns, 1.0, math.sqrt(2.0)) / STEP
    steps = np.zeros(len(rows))
    for first in range(0, len(profiles), _USERS_AT_ONCE):
        some = profiles[first : first + _USERS_AT_ONCE]
        steps += np.trunc(some[:, rows] * some[:, columns] * factors).sum(axis=0)
    return (steps * STEP).astype(np.float32)
