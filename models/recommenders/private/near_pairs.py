"""Sums over users of their pairs of items, where items used near each other count more.

Let a user use the items i_1 ... i_n, oldest first, all of them different. The user's part has for each pair

    K_ab = (|a - b| + 1)^-r

and is divided by its length, so that it has the length 1. A pair of items used one after the other says more
about what comes next than one used years apart, and noise is the same for each pair. So the parts spend their
length on near pairs. The diagonal is left out: how popular items are is known from elsewhere.

K is convex and decreasing in |a - b|, so with its diagonal it has no negative eigenvalue (Pólya's criterion).
What noise leaves visible of a sum is therefore found among its positive eigenvalues.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from models.kernel.arrays import FloatArray
from models.kernel.histories import Float64Array, Histories
from models.recommenders.items.unit_pairs import INSIDE, STEP


def pairs_size(items: int) -> int:
    """Return the number of pairs of different items."""
    return items * (items - 1) // 2


def near_pairs(histories: Histories, items: npt.NDArray[np.int64], nearness: float) -> FloatArray:
    """Return (pairs,) float32: the sum of these users' parts, row after row of the upper triangle.

    All values are whole numbers of `STEP`, rounded towards zero user by user.

    Args:
        histories: of the users.
        items: rows of the items to count. Other items are left out of the histories first.
        nearness: r above; 0 counts all pairs of a user alike.
    """
    places = np.full(histories.n_items, -1)
    places[items] = np.arange(len(items))
    steps = np.zeros(pairs_size(len(items)))
    rows = places[histories.items]
    for first, last in pairwise(histories.starts):
        own = rows[first:last]
        own = own[own >= 0]
        before, after = np.triu_indices(len(own), 1)
        one, other = own[before], own[after]
        low, high = np.minimum(one, other), np.maximum(one, other)
        # Where the upper triangle, row after row, has these pairs. A user has no pair twice.
        at = low * (2 * len(items) - low - 1) // 2 + high - low - 1
        steps[at] += _steps(len(own), nearness)[after - before]
    return (steps * STEP).astype(np.float32)


def near_matrix(sums: FloatArray, items: int) -> Float64Array:
    """Return the symmetric matrix (items, items), with a diagonal of zeros, of such sums (pairs,).

    Its Frobenius norm is the length of the sums.
    """
    found = np.zeros((items, items))
    rows, columns = np.triu_indices(items, 1)
    found[rows, columns] = found[columns, rows] = sums.astype(np.float64) / math.sqrt(2.0)
    return found


def _steps(length: int, nearness: float) -> Float64Array:
    """Return (length,): what pairs that are 0, 1, 2, ... places apart count, in whole steps."""
    apart = np.arange(length)
    heights = np.power(apart + 1.0, -nearness)
    heights[:1] = 0.0
    # A history has `length - apart` pairs of each kind.
    squares = ((length - apart) * np.square(heights)).sum()
    scale = STEP * math.sqrt(squares) or 1.0
    return np.asarray(np.floor(INSIDE * heights / scale))
