"""Unsigned integers of a few bits each as bytes without gaps: the form in which masked vectors travel.

Value number i of width w takes the bits i·w to (i+1)·w - 1 of a little-endian bit stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput

Unsigned = npt.NDArray[np.unsignedinteger[Any]]
MOST_BITS = 64
_HALF = 32
_WORD_BYTES = 8


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
    rows, stride = _group(width)
    groups = max(1, -(-len(values) // rows))
    padded = values
    if len(values) < groups * rows:
        padded = np.zeros(groups * rows, values.dtype)
        padded[: len(values)] = values
    by_row = padded.reshape(groups, rows).T
    out = np.zeros(groups * stride + _WORD_BYTES, np.uint8)
    # The last word of a group also covers bytes of the next group, which that one's first word sets.
    for word in reversed(range(-(-stride // _WORD_BYTES))):
        begin = word * MOST_BITS
        total = np.zeros(groups, np.uint64)
        for row in range(begin // width, min(rows, -(-(begin + MOST_BITS) // width))):
            shift, value = row * width - begin, by_row[row].astype(np.uint64)
            total |= value << np.uint64(shift) if shift >= 0 else value >> np.uint64(-shift)
        _words(out, word * _WORD_BYTES, stride, groups)[:] = total
    return out[: packed_size(len(values), width)].tobytes()


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
    rows, stride = _group(width)
    groups = max(1, -(-count // rows))
    padded = np.zeros(groups * stride + 2 * _WORD_BYTES, np.uint8)
    padded[:size] = np.frombuffer(data, np.uint8)
    out = np.empty((groups, rows), kind)
    for row in range(rows):
        start, shift = divmod(row * width, 8)
        value = _words(padded, start, stride, groups) >> np.uint64(shift)
        if shift + width > MOST_BITS:
            following = _words(padded, start + _WORD_BYTES, stride, groups)
            value |= following << np.uint64(MOST_BITS - shift)
        out[:, row] = value
    out &= kind((1 << width) - 1)
    return out.reshape(-1)[:count]


def _group(width: int) -> tuple[int, int]:
    """Return how many values of this width fill how many bytes exactly, which are at least a word."""
    rows = 8 if width >= _WORD_BYTES else MOST_BITS
    return rows, rows * width // 8


def _words(data: npt.NDArray[np.uint8], start: int, stride: int, count: int) -> npt.NDArray[np.uint64]:
    """Return a view of words of 64 bits, each `stride` bytes after the one before."""
    return np.ndarray((count,), "<u8", data, start, (stride,))
