"""A group of arrays as one vector, as a robust mean of several groups compares them."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.packed import KeptRows, PackedArrays, shapes_of

Group = TypeVar("Group", bound=ArrayGroup)

_NOTHING = np.zeros(0, np.float32)


class FlatArrays:
    """The values of all arrays of a group, one after another, of which any part can be read.

    Rows that a packed array leaves out are zeros in the part that is read, and take no memory otherwise.

    Args:
        arrays: the group. It has at least one array.
    """

    def __init__(self, arrays: ArrayGroup | PackedArrays[Any]) -> None:
        rows = arrays.rows if isinstance(arrays, PackedArrays) else {}
        self._parts: list[tuple[int, int, FloatArray, KeptRows | None]] = []
        self._size, shapes = 0, shapes_of(arrays)
        for name, values in arrays.named():
            end = self._size + math.prod(shapes[name])
            self._parts.append((self._size, end, values, rows.get(name)))
            self._size = end

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of values, as the shape of an array of one axis."""
        return (self._size,)

    def __len__(self) -> int:
        """Return the number of values."""
        return self._size

    def __getitem__(self, places: slice) -> FloatArray:
        """Return the values at these places (values,). The slice has no step."""
        first, last, _ = places.indices(self._size)
        found = [
            _values(values, kept, max(first, start) - start, min(last, end) - start)
            for start, end, values, kept in self._parts
            if max(first, start) < min(last, end)
        ]
        return np.concatenate([_NOTHING, *found])


def as_group(vector: FloatArray, like: Group) -> Group:
    """Return the group of the shapes of `like` of which the vector has all values, as `FlatArrays` does."""
    ends = np.cumsum([array.size for _, array in like.named()])
    parts = np.split(vector, ends[:-1])
    return type(like)(
        **{name: part.reshape(array.shape) for (name, array), part in zip(like.named(), parts, strict=True)}
    )


def _values(array: FloatArray, kept: KeptRows | None, first: int, last: int) -> FloatArray:
    """Return the values at places `first` to `last`, exclusive, of a whole array or of one of kept rows."""
    if kept is None:
        return array.reshape(-1)[first:last]
    width = math.prod(array.shape[1:])
    row, end = first // width, -(-last // width)
    since, until = np.searchsorted(kept.numbers, [row, end])
    found = np.zeros((end - row, width), array.dtype)
    found[kept.numbers[since:until] - row] = array[since:until].reshape(-1, width)
    return found.reshape(-1)[first - row * width : last - row * width]
