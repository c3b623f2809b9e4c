"""Groups of named arrays, the form of models and updates, and their running sum over clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Generic, Self, TypeVar

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
        arrays, sizes = dict(self.named()), dict[str, int]()
        for name, names in self.AXES.items():
            axes, shape = names.split(), arrays[name].shape
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

    def named(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield (name, array) for each array, in the order of the fields."""
        for field in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            yield field.name, getattr(self, field.name)

    @property
    def moving(self) -> tuple[str, ...]:
        """Return the names of the arrays that give a contribution's direction.

        These are the arrays that are not in `GROWING`, or all arrays if every array is.
        """
        names = [name for name, _ in self.named()]
        return tuple(name for name in names if name not in self.GROWING) or tuple(names)

    def map(self, function: Callable[..., FloatArray], *others: Self) -> Self:
        """Return a group of `function`'s results on each array and the arrays of that name in `others`."""
        return type(self)(
            **{name: function(array, *(getattr(o, name) for o in others)) for name, array in self.named()}
        )

    def is_finite(self) -> bool:
        """Return whether all values are finite."""
        return all(bool(np.isfinite(array).all()) for _, array in self.named())


Group = TypeVar("Group", bound=ArrayGroup)


@dataclass(frozen=True)
class RunningSum(Generic[Group]):
    """A float64 sum over clients that holds one contribution in memory at a time.

    Attributes:
        total: weighted sum of the contributions so far.
        weight: sum of their weights.
        clients: ids of the added clients, in order.
    """

    total: Group
    weight: float
    clients: tuple[str, ...]

    @classmethod
    def zero(cls, like: Group) -> RunningSum[Group]:
        """Return the empty sum, with arrays of the shapes of `like`."""
        return cls(like.map(lambda array: np.zeros(array.shape, dtype=np.float64)), 0.0, ())

    def plus(self, client_id: str, contribution: Group, weight: float = 1.0) -> RunningSum[Group]:
        """Return the sum with one more client.

        Clients must be added in ascending order of their ids. Floating-point sums depend on the order, so a
        fixed order makes the result independent of the order of arrival.

        Raises:
            InvalidInput: a client is out of order or occurs twice.
        """
        if self.clients and client_id <= self.clients[-1]:
            raise InvalidInput(
                f"Updates must be added in ascending order of client id, each once: "
                f"{client_id!r} came after {self.clients[-1]!r}."
            )
        return RunningSum(
            total=self.total.map(
                lambda total, array: total + np.multiply(array, weight, dtype=np.float64), contribution
            ),
            weight=self.weight + weight,
            clients=(*self.clients, client_id),
        )
