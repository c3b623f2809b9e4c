"""Arrays without their rows of zeros: the form of an update of which most rows did not change.

A client of one user changes the rows of a few hundred items, whatever the size of the catalogue. Adding a
row of zeros changes no sum, so a packed update gives the same model bytes as a whole one. It is read,
checked, hashed and added in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.arrays import ArrayGroup, FloatArray, directional_names

Group = TypeVar("Group", bound=ArrayGroup)
RowNumbers = npt.NDArray[np.int32]
# An array is packed if at most this share of its rows is kept. The numbers of the rows take space, too.
MOST_KEPT = 0.5
_MOST_ROWS = int(np.iinfo(np.int32).max)


@dataclass(frozen=True)
class KeptRows:
    """The rows of an array that are kept.

    Attributes:
        numbers: (kept,), ascending.
        size: number of rows of the whole array.

    Raises:
        InvalidInput: the numbers are not ascending numbers of rows.
    """

    numbers: RowNumbers
    size: int

    def __post_init__(self) -> None:
        numbers = self.numbers
        if numbers.dtype != np.int32 or numbers.ndim != 1:
            raise InvalidInput(
                f"Numbers of rows are {numbers.dtype} of shape {numbers.shape}, expected a list of int32."
            )
        if len(numbers) and (
            numbers[0] < 0 or int(numbers[-1]) >= self.size or not (np.diff(numbers) > 0).all()
        ):
            raise InvalidInput(f"Numbers of rows must ascend from 0 and stay below {self.size}.")
        numbers.flags.writeable = False


@dataclass(frozen=True)
class PackedArrays(Generic[Group]):
    """A group of arrays, of some of which only the rows are kept that are not zeros.

    Attributes:
        kind: the class of the whole group.
        values: name -> the array, or its kept rows.
        rows: name -> the rows kept of a packed array. Whole arrays are missing here.

    Raises:
        InvalidInput: the names are not those of the kind, or an array has not one row for each number.
    """

    kind: type[Group]
    values: Mapping[str, FloatArray]
    rows: Mapping[str, KeptRows]

    def __post_init__(self) -> None:
        if self.values.keys() != {*self.kind.names()} or not self.rows.keys() <= self.values.keys():
            raise InvalidInput(f"The arrays of {self.kind.__name__} are {', '.join(self.kind.names())}.")
        for name, kept in self.rows.items():
            shape = self.values[name].shape
            if not shape or shape[0] != len(kept.numbers):
                raise InvalidInput(f"Array {name!r} has shape {shape}, expected {len(kept.numbers)} rows.")
        for array in self.values.values():
            array.flags.writeable = False

    def named(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield (name, kept values) for each array, in the order of the group's fields."""
        for name in self.kind.names():
            yield name, self.values[name]

    @property
    def GROWING(self) -> frozenset[str]:  # noqa: N802  # as the whole group has it
        """Return the names of the arrays that are never negative."""
        return self.kind.GROWING

    @property
    def directional(self) -> tuple[str, ...]:
        """Return the names of the arrays that give a contribution's direction, as the whole group does."""
        return directional_names(self.kind)

    def map(self, function: Callable[[FloatArray], FloatArray]) -> PackedArrays[Group]:
        """Return `function`'s results on the kept values. It works value by value and keeps zeros."""
        values = {name: function(array) for name, array in self.values.items()}
        return PackedArrays(self.kind, values, self.rows)


def packed(arrays: Group | PackedArrays[Group]) -> Group | PackedArrays[Group]:
    """Return the group without the rows of zeros of its arrays, or the group itself if that saves little."""
    if isinstance(arrays, PackedArrays):
        return arrays
    rows, values = {}, {}
    for name, array in arrays.named():
        # A NaN differs from zero, so it is kept for the contract to find.
        numbers = np.flatnonzero(array.any(axis=tuple(range(1, array.ndim))))
        values[name] = array
        if len(numbers) <= MOST_KEPT * len(array) and len(array) <= _MOST_ROWS:
            rows[name] = KeptRows(numbers.astype(np.int32), len(array))
            values[name] = array[numbers]
    return PackedArrays(type(arrays), values, rows) if rows else arrays


def with_rows(part: Group, numbers: RowNumbers, size: int) -> PackedArrays[Group]:
    """Return a group of `size` rows that has the rows of `part` at these numbers, and zeros elsewhere.

    Args:
        part: arrays that all have the same number of rows.
        numbers: number of each of these rows, ascending.
        size: number of rows of the whole arrays.
    """
    kept = KeptRows(numbers, size)
    return PackedArrays(type(part), dict(part.named()), dict.fromkeys(part.names(), kept))


def whole(arrays: Group | PackedArrays[Group]) -> Group:
    """Return the group with all rows."""
    if not isinstance(arrays, PackedArrays):
        return arrays
    found = {}
    for name, values in arrays.named():
        found[name] = values
        if name in arrays.rows:
            kept = arrays.rows[name]
            found[name] = np.zeros((kept.size, *values.shape[1:]), dtype=values.dtype)
            found[name][kept.numbers] = values
    return arrays.kind(**found)


def kind_of(arrays: ArrayGroup | PackedArrays[Any]) -> type[ArrayGroup]:
    """Return the class of the whole group."""
    return arrays.kind if isinstance(arrays, PackedArrays) else type(arrays)


def shapes_of(arrays: ArrayGroup | PackedArrays[Any]) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of the whole array."""
    found = {name: array.shape for name, array in arrays.named()}
    if isinstance(arrays, PackedArrays):
        found |= {name: (kept.size, *found[name][1:]) for name, kept in arrays.rows.items()}
    return found


def selection_of(arrays: ArrayGroup | PackedArrays[Any], name: str) -> RowNumbers | slice:
    """Return the rows of the whole array to which the values of this name belong, as an index."""
    if isinstance(arrays, PackedArrays) and name in arrays.rows:
        return arrays.rows[name].numbers
    return slice(None)
