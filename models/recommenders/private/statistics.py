"""What a client adds up over its users, so that each user's part has at most a known length.

Let x be a user's items as a vector of 0 and 1, and w the same vector where an item used k places before the
last one is (k+1)^-r. The user's parts are

    popularity   x / |x|                                            of length 1
    pairs        pairs of the most popular items S (`near_pairs`)   of length 1
    content      p p' with p = Q'w / |w|, shortened to |p| <= c     of Frobenius norm c²
    users        1

with a public orthonormal basis Q (items, contents) of item features. Steps and rounding are those of
`models.recommenders.items.unit_pairs`.
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
from models.recommenders.items.item_weights import remembered
from models.recommenders.items.symmetric import triangle_size
from models.recommenders.items.unit_pairs import INSIDE, RANGE, STEP
from models.recommenders.private.near_pairs import near_pairs, pairs_size
from models.recommenders.private.spec import DpItemsSpec

_USERS_AT_ONCE = 4096
# In steps of 1/256, so that little noise has enough of them.
_USERS_RANGE = Range.symmetric(2.0**16, 25)


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
        pairs: (pairs of the popular items,), sum of `near_pairs`.
        users: (1,), their number.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"content": RANGE, "pairs": RANGE, "users": _USERS_RANGE}
    AXES: ClassVar[Mapping[str, str]] = {
        "content": "content-triangle",
        "pairs": "pairs",
        "users": "total",
    }

    content: FloatArray
    pairs: FloatArray
    users: FloatArray


def popularity_sums(histories: Histories) -> PopularitySums:
    """Return the sums of the first round over these users."""
    lengths = np.diff(histories.starts)
    parts = np.floor(1.0 / (STEP * np.sqrt(np.maximum(lengths, 1))))
    steps = np.bincount(histories.items, np.repeat(parts, lengths), minlength=histories.n_items)
    return PopularitySums((steps * STEP).astype(np.float32))


def pair_sums(
    spec: DpItemsSpec, histories: Histories, paired: npt.NDArray[np.int64], basis: FloatArray
) -> PairSums:
    """Return the sums of the second round over these users.

    Args:
        spec: has r as `nearness` and c as `content_norm`.
        histories: of the users.
        paired: (popular items,) rows of S.
        basis: (items, contents), Q.
    """
    return PairSums(
        content=_content(spec, histories, basis.astype(np.float64)),
        pairs=near_pairs(histories, paired, spec.nearness),
        users=np.array([len(histories)], dtype=np.float32),
    )


def no_pairs(contents: int, paired: int) -> PairSums:
    """Return the sums over no users."""
    sizes = (triangle_size(contents), pairs_size(paired), 1)
    return PairSums(*(np.zeros(size, dtype=np.float32) for size in sizes))


def _content(spec: DpItemsSpec, histories: Histories, basis: Float64Array) -> FloatArray:
    norm = spec.content_norm
    used = histories.matrix(remembered(histories.steps_back, spec.nearness))
    lengths = np.sqrt(np.asarray(used.multiply(used).sum(axis=1)))
    profiles = (used @ basis) / np.where(lengths > 0.0, lengths, 1.0)
    long = np.sqrt(np.square(profiles).sum(axis=1, keepdims=True))
    profiles *= np.minimum(1.0, INSIDE * norm / np.maximum(long, norm))
    rows, columns = np.triu_indices(basis.shape[1])
    factors = np.where(rows == columns, 1.0, math.sqrt(2.0)) / STEP
    steps = np.zeros(len(rows))
    for first in range(0, len(profiles), _USERS_AT_ONCE):
        some = profiles[first : first + _USERS_AT_ONCE]
        steps += np.trunc(some[:, rows] * some[:, columns] * factors).sum(axis=0)
    return (steps * STEP).astype(np.float32)
