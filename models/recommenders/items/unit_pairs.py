"""Sums over users of their pairs of items, where each user's part has at most the length 1.

Let x be a user's items as a vector of 0 and 1, and u = x / |x|. The part of the user is u u', of Frobenius
norm 1. Of symmetric matrices one triangle is sent, its off-diagonal values times sqrt 2, so that its length
as a vector is the Frobenius norm. All values are whole numbers of `STEP`, rounded towards zero user by user:
that makes no part longer, and sums are exact.
"""

from __future__ import annotations

import math

import numpy as np

from models.kernel.arrays import FloatArray
from models.kernel.histories import Float64Array, Histories
from models.kernel.ranges import Range
from models.recommenders.items.symmetric import symmetric, triangle

STEP = 2.0**-12
# Keeps a part whose length is rounded from being too long.
INSIDE = 1.0 - 2.0**-40
# Whole numbers that float32 holds exactly: a client's own sums below 4096, so of some ten thousand users.
RANGE = Range.symmetric(2.0**12, 25)


def unit_pairs(histories: Histories) -> FloatArray:
    """Return the triangle (float32) of the sum of u u' over these users."""
    import scipy.sparse as sp

    used = histories.matrix()
    lengths = np.maximum(np.asarray(used.sum(axis=1)).ravel(), 1.0)
    same, other = (np.floor(factor / (STEP * lengths)) for factor in (1.0, math.sqrt(2.0)))
    steps = (used.T @ sp.diags(other) @ used).toarray()
    steps[np.diag_indices(used.shape[1])] = used.T @ same
    return (triangle(steps) * STEP).astype(np.float32)


def matrix_of(sums: FloatArray, size: int) -> Float64Array:
    """Return the symmetric matrix (size, size) of which `sums` is the triangle that clients send."""
    found = np.asarray(symmetric(sums.astype(np.float64), size)) / math.sqrt(2.0)
    found[np.diag_indices(size)] *= math.sqrt(2.0)
    return found
