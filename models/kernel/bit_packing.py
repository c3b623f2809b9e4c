"""Unsigned integers of a few bits each as bytes without gaps: the form in which masked vectors travel.

Value number i of width w takes the bits i·w to (i+1)·w - 1 of a little-endian bit stream.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput

Unsigned = npt.NDArray[np.unsignedinteger[Any]]
MOST_BITS = 64
_HALF = 32


def word_type(width: int) -> type[np.uint32 | np.uint64]:
    """Return the type of numpy that holds values of this many bits: uint32 up to 32 bits, else uint64.

    Raises:
        InvalidInput: the width is not between 1 and 64 bits.
    """
    if not 1 <= width <= MOST_BITS:
        raise InvalidInput(f"A value has {width} bits, expected 1 to {MOST_BITS}.", width=width)
    return np.uint32 if width <= _HALF else np.uint64


def packed_size(count: int, width: int) -> int:
    """Return the number of bytes that `count` values of `width` bits take."""
    return (count * width + 7) // 8


def pack(values: Unsigned, width: int) -> bytes:
    """Return values as bytes without gaps; the last byte ends with bits of zero.

    Args:
        values: (count,) unsigned integers.
        width: number of bits of each value, 1 to 64.

    Raises:
        InvalidInput: a value needs more bits, or the width is out of range.
    """
    kind = word_type(width)
    if values.ndim != 1 or values.dtype not in {np.dtype(np.uint32), np.dtype(np.uint64)}:
        raise InvalidInput(
            f"Values to pack are {values.dtype} of shape {values.shape}, expected a list of {kind.__name__}."
        )
    if len(values) and int(values.max()) >> width:
        raise InvalidInput(f"A value to pack is {int(values.max())}, which needs more than {width} bits.")
    rows, words = _group(width)
    groups = -(-len(values) // rows)
    padded = np.zeros(groups * rows, np.uint64)
    padded[: len(values)] = values
    # Each row has the values of one place in all groups, so that numpy works on long rows.
    columns = np.ascontiguousarray(padded.reshape(groups, rows).T)
    out = np.zeros((words, groups), np.uint64)
    for row in range(rows):
        word, shift = divmod(row * width, MOST_BITS)
        out[word] |= columns[row] << np.uint64(shift)
        if shift + width > MOST_BITS:
            out[word + 1] |= columns[row] >> np.uint64(MOST_BITS - shift)
    return out.T.astype("<u8").tobytes()[: packed_size(len(values), width)]


def unpack(data: bytes | memoryview, count: int, width: int) -> Unsigned:
    """Return the values that `pack` wrote.

    Args:
        data: the bytes.
        count: number of values.
        width: number of bits of each value, 1 to 64.

    Returns:
        (count,) uint32 up to 32 bits, else uint64.

    Raises:
        InvalidInput: the bytes have another size, or bits after the last value.
    """
    kind = word_type(width)
    size = packed_size(count, width)
    if len(data) != size:
        raise InvalidInput(f"{count} packed values of {width} bits have {len(data)} bytes, expected {size}.")
    spare = size * 8 - count * width
    if spare and data[-1] >> (8 - spare):
        raise InvalidInput(
            f"The last byte of {count} packed values of {width} bits has bits after the last value."
        )
    rows, words = _group(width)
    groups = -(-count // rows)
    padded = np.zeros(groups * words * 8, np.uint8)
    padded[:size] = np.frombuffer(data, np.uint8)
    columns = np.ascontiguousarray(padded.view("<u8").reshape(groups, words).T)
    out = np.empty((rows, groups), kind)
    mask = np.uint64((1 << width) - 1)
    for row in range(rows):
        word, shift = divmod(row * width, MOST_BITS)
        value = columns[word] >> np.uint64(shift)
        if shift + width > MOST_BITS:
            value |= columns[word + 1] << np.uint64(MOST_BITS - shift)
        out[row] = value & mask
    return np.ascontiguousarray(out.T).reshape(-1)[:count]


def _group(width: int) -> tuple[int, int]:
    """Return how many values of this width fill how many words of 64 bits exactly."""
    common = math.gcd(width, MOST_BITS)
    return MOST_BITS // common, width // common
