"""Groups of named arrays, the form of models and updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput

FloatArray = npt.NDArray[np.floating]


class ArrayGroup:
    """Base class of frozen dataclasses whose fields are all arrays. It makes the arrays read-only.

    Attributes:
        AXES: array name -> its axes, such as "items dims". The shapes are checked: equal axis names must have
            equal sizes.
        GROWING: names of the arrays that hold counts or sums of squares, which are never negative.
    """

    AXES: ClassVar[Mapping[str, str]] = {}
    GROWING: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        self._require_axes()
        for _, array in self.named():
            array.flags.writeable = False

    def _require_axes(self) -> None:
        sizes = dict[str, int]()
        for name, axes in _axes(type(self)):  # type: ignore[arg-type]  # as `names` says
            shape = getattr(self, name).shape
            if len(shape) != len(axes) or any(
                sizes.setdefault(axis, size) != size for axis, size in zip(axes, shape, strict=True)
            ):
                known = ", ".join(f"{size} {axis}" for axis, size in sizes.items())
                raise InvalidInput(
                    f"Array {name!r} has shape {shape}, expected ({', '.join(axes)})"
                    f"{f' with {known}' if known else ''}."
                )

    def size_of(self, axis: str) -> int:
        """Return the size of an axis that `AXES` names."""
        arrays = dict(self.named())
        name, axes = next((name, axes.split()) for name, axes in self.AXES.items() if axis in axes.split())
        return int(arrays[name].shape[axes.index(axis)])

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the arrays, in the order of the fields."""
        return _names(cls)  # type: ignore[arg-type]  # mypy holds that a class has no hash

    def named(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield (name, array) for each array, in the order of the fields."""
        for name in self.names():
            yield name, getattr(self, name)

    @property
    def directional(self) -> tuple[str, ...]:
        """Return the names of the arrays that give a contribution's direction.

        These are the arrays that are not in `GROWING`, or all arrays if every array is.
        """
        return directional_names(type(self))

    def map(self, function: Callable[..., FloatArray], *others: Self) -> Self:
        """Return a group of `function`'s results on each array and the arrays of that name in `others`."""
        return type(self)(
            **{name: function(array, *(getattr(o, name) for o in others)) for name, array in self.named()}
        )

    def is_finite(self) -> bool:
        """Return whether all values are finite."""
        return all(bool(np.isfinite(array).all()) for _, array in self.named())


def directional_names(kind: type[ArrayGroup]) -> tuple[str, ...]:
    """Return the names of the arrays that give a contribution's direction; see `ArrayGroup.directional`."""
    return tuple(name for name in kind.names() if name not in kind.GROWING) or kind.names()


# A round makes some groups for each client, so these are not worked out each time.
@cache
def _names(kind: type[ArrayGroup]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))  # type: ignore[arg-type]  # subclasses are dataclasses


@cache
def _axes(kind: type[ArrayGroup]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return (name, its axes) of the arrays whose axes are known."""
    return tuple((name, tuple(axes.split())) for name, axes in kind.AXES.items())
