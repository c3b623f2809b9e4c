"""Public ranges: the whole numbers of steps by which a value travels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray

Integers = npt.NDArray[np.integer[Any]]

# Sums of whole numbers below this are exact in float64.
_EXACT = 2**53
_DTYPES = tuple(np.dtype(name) for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"))


@dataclass(frozen=True)
class Range:
    """The values that one array of a contribution may have, before it is weighted.

    The step is a power of two, so whole numbers of steps are exact in floating point, and so are their sums.

    Attributes:
        lowest, highest: ends of the range, in steps. Zero lies between them.
        step: distance of two neighbouring values.

    Raises:
        InvalidInput: the ends do not enclose zero, are too far apart, or the step is no power of two.
    """

    lowest: int
    highest: int
    step: float

    def __post_init__(self) -> None:
        if not (0.0 < self.step < math.inf and self.step == 2.0 ** round(math.log2(self.step))):
            raise InvalidInput(
                f"The step of a range is {self.step!r}, expected a power of two.",
                next_step="Choose a step such as 0.0009765625, which is 1/1024.",
            )
        if not -_EXACT < self.lowest <= 0 < self.highest < _EXACT:
            raise InvalidInput(
                f"A range goes from {self.lowest} to {self.highest} steps, expected ends around 0 and within "
                "2^53."
            )

    @classmethod
    def symmetric(cls, bound: float, bits: int) -> Range:
        """Return the range from -`bound`, a power of two, to one step below `bound`, in `bits` bits."""
        half = 2 ** (bits - 1)
        return cls(-half, half - 1, bound / half)

    @classmethod
    def counting(cls, bits: int, step: float = 1.0) -> Range:
        """Return a range of values that are never negative, in numbers of `bits` bits."""
        return cls(0, 2**bits - 1, step)

    def ends(self, weight: float = 1.0) -> tuple[int, int]:
        """Return the ends for values times `weight`, in steps, of which no more than 2^53 are exact."""
        return (
            max(math.ceil(self.lowest * weight), -_EXACT),
            min(math.floor(self.highest * weight), _EXACT),
        )

    def rounded(self, array: FloatArray, weight: float = 1.0) -> tuple[FloatArray, int]:
        """Return the nearest values of the range (float32), and how many values it clipped.

        NaN stays NaN and is not counted.

        Args:
            array: values times `weight`.
            weight: not negative.
        """
        # Adding zero makes a positive zero of a negative one, as whole numbers have only one.
        steps = np.rint(array.astype(np.float64) / self.step) + 0.0
        found: FloatArray = (steps * self.step).astype(np.float32)
        lowest, highest = (_towards_zero(end * self.step) for end in self.ends(weight))
        clipped = int(np.count_nonzero(found < lowest) + np.count_nonzero(found > highest))
        return (np.clip(found, lowest, highest) if clipped else found), clipped

    def in_steps(self, array: FloatArray, weight: float = 1.0) -> Integers:
        """Return rounded values as whole numbers, in the smallest type that holds the range.

        Raises:
            InvalidInput: a value is not one of the range.
        """
        steps = np.divide(array, self.step, dtype=np.float64)
        lowest, highest = self.ends(weight)
        # Comparisons with NaN are false, and the smallest of values with NaN is NaN.
        is_within = lowest <= steps.min(initial=0) and steps.max(initial=0) <= highest
        found = steps.astype(self.dtype(weight)) if is_within else steps
        if not (is_within and np.array_equal(found, steps)):
            raise InvalidInput(
                f"A value is not one of {lowest} to {highest} steps of {self.step:g}.",
                next_step="Round the contribution before it is encoded.",
            )
        return found

    def of_steps(self, steps: Integers) -> FloatArray:
        """Return the values (float32) that `in_steps` read."""
        found: FloatArray = (steps * np.float64(self.step)).astype(np.float32)
        return found

    def dtype(self, weight: float = 1.0) -> np.dtype[Any]:
        """Return the smallest type of whole numbers that holds the range of values times `weight`."""
        lowest, highest = self.ends(weight)
        return next(
            each for each in _DTYPES if np.iinfo(each).min <= lowest and highest <= np.iinfo(each).max
        )


def _towards_zero(value: float) -> np.float32:
    """Return the float32 nearest to `value` that is not farther from zero."""
    found = np.float32(value)
    return found if abs(float(found)) <= abs(value) else np.nextafter(found, np.float32(0.0))


# For arrays that name no range: 40 bits, as wide and as fine as practice needs.
ANY_RANGE = Range.symmetric(2.0**23, 40)
