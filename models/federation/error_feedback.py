"""Error feedback: what a client leaves out of an update, it adds to a later one.

A small update has only the rows that changed most, with few bits a value. Left out for good, the rest would
bias the model. A client keeps it as its residual, and adds it to its next contribution, so it is late but not
lost (Stich et al. 2018, "Sparsified SGD with Memory", algorithm 1; rounding is fed back as in Karimireddy et
al. 2019, algorithm 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from models.errors import InvalidInput
from models.federation.contribution import Contribution
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.packed import PackedArrays, RowNumbers, whole, with_rows

Arrays = TypeVar("Arrays", bound=ArrayGroup)
Rounding = Callable[[Contribution[Arrays]], Contribution[Arrays]]


def with_feedback(
    contribution: Contribution[Arrays],
    residual: Arrays | None,
    share: float,
    rounding: Rounding[Arrays],
) -> tuple[Contribution[Arrays], Arrays]:
    """Return what a client sends, and its new residual.

    Args:
        contribution: of the round, after all postprocessors.
        residual: what earlier rounds left out; None before the first one.
        share: largest share of the rows that are sent, above 0 and up to 1.
        rounding: rounds a contribution to its ranges.
    """
    arrays = whole(contribution.arrays)
    if residual is not None:
        arrays = arrays.map(lambda array, left: array + left, residual)
    chosen = arrays if share == 1.0 else _of_rows(arrays, largest_rows(arrays, share))
    sent = rounding(replace(contribution, arrays=chosen))
    return sent, arrays.map(lambda array, gone: array - gone, whole(sent.arrays))


def largest_rows(arrays: ArrayGroup, share: float) -> RowNumbers:
    """Return the numbers of the rows of largest norm, ascending, without rows of zeros.

    The norm is that of all arrays that give the contribution's direction, together. In a tie the earlier row
    is chosen.

    Args:
        arrays: all with one row for each item.
        share: share of the rows, above 0 and up to 1; the number is rounded up.

    Raises:
        InvalidInput: the share is out of range.
    """
    if not 0.0 < share <= 1.0:
        raise InvalidInput(
            f"A client cannot send a share of {share} of its rows.",
            next_step="Choose a share above 0 and up to 1.",
        )
    directional = [array for name, array in arrays.named() if name in arrays.directional]
    squares = np.sum([_squares(array) for array in directional], axis=0)
    first = np.argsort(-squares, kind="stable")[: math.ceil(share * len(squares))]
    return np.sort(first[squares[first] > 0.0]).astype(np.int32)


def _squares(array: FloatArray) -> FloatArray:
    """Return the squared norm of each row (float64)."""
    found: FloatArray = np.square(array.reshape(len(array), -1), dtype=np.float64).sum(axis=1)
    return found


def _of_rows(arrays: Arrays, numbers: RowNumbers) -> PackedArrays[Arrays]:
    size = len(next(array for _, array in arrays.named()))
    return with_rows(arrays.map(lambda array: array[numbers]), numbers, size)
