"""Groups of named arrays: what travels in a federation, and the sum of it over clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput

FloatArray = npt.NDArray[np.floating]


class ArrayGroup:
    """What a frozen dataclass is whose fields are all arrays: these are made read-only.

    Attributes:
        AXES: the axes of arrays, such as "items dims", which are checked; axes of one name have one size.
        GROWING: names of the arrays that are counts or sums of squares, and so never below zero.
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
                    f"{f' beside {known}' if known else ''}."
                )

    def size_of(self, axis: str) -> int:
        """The size of an axis that `AXES` names."""
        arrays = dict(self.named())
        name, axes = next((name, axes.split()) for name, axes in self.AXES.items() if axis in axes.split())
        return int(arrays[name].shape[axes.index(axis)])

    def named(self) -> Iterator[tuple[str, FloatArray]]:
        """(name, array) of each array, in the fixed order of the fields."""
        for one in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            yield one.name, getattr(self, one.name)

    @property
    def moving(self) -> tuple[str, ...]:
        """Names of the arrays that say where a contribution points: all that do not only grow.

        Where everything counts something, the counts do.
        """
        names = [name for name, _ in self.named()]
        return tuple(name for name in names if name not in self.GROWING) or tuple(names)

    def map(self, function: Callable[..., FloatArray], *others: Self) -> Self:
        """`function` applied to each array and the arrays of the same name of `others`."""
        return type(self)(
            **{name: function(array, *(getattr(o, name) for o in others)) for name, array in self.named()}
        )

    def is_finite(self) -> bool:
        """Whether no value is NaN or infinite."""
        return all(bool(np.isfinite(array).all()) for _, array in self.named())


Group = TypeVar("Group", bound=ArrayGroup)


@dataclass(frozen=True)
class RunningSum(Generic[Group]):
    """A sum over clients in float64, of which there is only one contribution in memory besides.

    Attributes:
        total: weighted sum of the contributions so far.
        weight: sum of their weights.
        clients: ids added, in order.
    """

    total: Group
    weight: float
    clients: tuple[str, ...]

    @classmethod
    def zero(cls, like: Group) -> RunningSum[Group]:
        """The sum of nothing, with arrays of these shapes."""
        return cls(like.map(lambda array: np.zeros(array.shape, dtype=np.float64)), 0.0, ())

    def plus(self, client_id: str, contribution: Group, weight: float = 1.0) -> RunningSum[Group]:
        """The sum with one more client.

        Clients must come in ascending order: floating-point sums depend on their order, and a fixed order
        makes the result independent of the order of arrival.

        Raises:
            InvalidInput: out of order, or a client twice.
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
