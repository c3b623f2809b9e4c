"""How a rounded contribution lies in a vector of whole numbers, of which a secure sum reveals the sum alone.

The vector has one block of values for each array, in the order of the group's fields, and a last block of
counts: weight, interactions, and total and weight of each metric. A block is as wide as the sum of all
clients needs, so a sum modulo 2^width is the sum itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.federation.contribution import Contribution, RunningSum
from models.federation.fixed_point import METRIC_STEP
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.metric import Metric
from models.kernel.packed import shapes_of, whole
from models.kernel.ranges import Integers, Range
from models.secure_sum.vectors import Layout

Unsigned = npt.NDArray[np.unsignedinteger[Any]]

_WIDEST = 64
_NARROW = 32


@dataclass(frozen=True)
class NoArrays(ArrayGroup):
    """The form of a sum of counts and metrics alone."""


@dataclass(frozen=True)
class VectorForm:
    """The form of the vectors of one secure sum.

    Attributes:
        form: arrays of the shapes of a contribution.
        ranges: array name -> the range of its values.
        metrics: names of the metrics, sorted.
        clients: the greatest number of summands.
        max_weight: the greatest weight of a client.

    Raises:
        InvalidInput: a sum could need more than 64 bits.
    """

    form: ArrayGroup
    ranges: Mapping[str, Range]
    metrics: tuple[str, ...]
    clients: int
    max_weight: int = 1

    def __post_init__(self) -> None:
        for name in self._shapes:
            width = self._width(self.ranges[name])
            if width > _WIDEST:
                raise InvalidInput(
                    f"The sum of {name!r} needs {width} bits for {self.clients} clients, at most {_WIDEST}.",
                    next_step="Choose a narrower range or a wider step for it in fixed_point.",
                )

    @property
    def layout(self) -> Layout:
        """Return number and width of the values of each block."""
        counts = [math.prod(shape) for shape in self._shapes.values()]
        widths = [self._width(self.ranges[name]) for name in self._shapes]
        return Layout((*counts, 2 + 2 * len(self.metrics)), (*widths, _WIDEST))

    def blocks(self, contribution: Contribution[Any]) -> tuple[Unsigned, ...]:
        """Return a client's vector, in blocks of uint32, or uint64 for more than 32 bits.

        Args:
            contribution: rounded to these ranges.

        Raises:
            InvalidInput: a value is not one of its range, the weight is above the greatest, or a metric is of
                another name.
        """
        if not contribution.weight <= self.max_weight:
            raise InvalidInput(
                f"A client's weight is {contribution.weight:g}, at most {self.max_weight} is summed.",
                next_step="Raise privacy.max_weight.",
            )
        unknown = contribution.metrics.keys() - set(self.metrics)
        if unknown:
            raise InvalidInput(f"The sum has no place for the metrics {', '.join(sorted(unknown))}.")
        arrays = whole(contribution.arrays).named()
        found = [
            _modulo(self.ranges[name].in_steps(array, contribution.weight).ravel(), width)
            for (name, array), width in zip(arrays, self.layout.widths[:-1], strict=True)
        ]
        return (*found, _modulo(self._counts(contribution), _WIDEST))

    def running_sum(self, blocks: Sequence[Unsigned], clients: tuple[str, ...]) -> RunningSum[Any]:
        """Return the sum of these clients' contributions from the sum of their vectors."""
        *arrays, counts = blocks
        values: dict[str, FloatArray] = {}
        for (name, shape), block, width in zip(
            self._shapes.items(), arrays, self.layout.widths[:-1], strict=True
        ):
            range_ = self.ranges[name]
            steps = _signed(block, width, self._ends(range_)[1])
            values[name] = (steps * range_.step).reshape(shape)
        weight, interactions, *metrics = counts.view(np.int64).tolist()
        return RunningSum(
            total=type(self.form)(**values),
            weight=float(weight),
            clients=clients,
            interactions=interactions,
            metrics={
                name: Metric(metrics[2 * place] * METRIC_STEP, float(metrics[2 * place + 1]))
                for place, name in enumerate(self.metrics)
                if metrics[2 * place] or metrics[2 * place + 1]
            },
        )

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return shapes_of(self.form)

    def _ends(self, range_: Range) -> tuple[int, int]:
        """Return the ends of the sum of all clients' values, in steps."""
        lowest, highest = range_.ends(self.max_weight)
        return self.clients * lowest, self.clients * highest

    def _width(self, range_: Range) -> int:
        lowest, highest = self._ends(range_)
        return (highest - lowest).bit_length()

    def _counts(self, contribution: Contribution[Any]) -> Integers:
        none = Metric(0.0, 0.0)
        metrics = [contribution.metrics.get(name, none) for name in self.metrics]
        values = [round(part) for each in metrics for part in (each.total / METRIC_STEP, each.weight)]
        return np.array([round(contribution.weight), contribution.interactions, *values], dtype=np.int64)


def _modulo(values: Integers, width: int) -> Unsigned:
    """Return whole numbers modulo 2^width."""
    # Conversion of a negative number to an unsigned type is modulo 2^32 or 2^64, which 2^width divides.
    most = 2**width - 1
    if width <= _NARROW:
        return values.astype(np.uint32) & np.uint32(most)
    return values.astype(np.uint64) & np.uint64(most)


def _signed(block: Unsigned, width: int, highest: int) -> npt.NDArray[np.float64]:
    """Return the numbers up to `highest` that a block has modulo 2^width."""
    wide = block.astype(np.int64)
    return np.where(wide > highest, wide - 2**width, wide).astype(np.float64)
