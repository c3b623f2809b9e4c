"""Draws of the discrete Gaussian (Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for DP").

It gives a whole number k the probability exp(-k^2 / (2 sigma^2)), up to a factor. Added to whole numbers it
costs as much privacy as the continuous Gaussian, and no floating-point number is drawn whose last bits would
tell more (Mironov 2012).

A client must be able to draw its noise again, because a repeated round sends the same bytes. Samplers of
libraries take the operating system's randomness, which cannot be repeated. So a table of cumulative
probabilities is searched here for secret words.

The total variation distance of draws to the exact distribution, which adds (1 + exp(epsilon)) times itself
to delta:

- The probabilities in a table are whole numbers of 2^-128, and end at 12 standard deviations. A draw from it
  has a distance below 2^-107.
- A wide deviation is the sum of a fine draw and `_STRIDE` times a coarse one (Pöppelmann, Ducas, Güneysu
  2014). By Poisson's summation formula, each probability is then right up to a factor of
  1 ± 5 exp(-2 pi^2 tau^2), where tau is the fine deviation times the coarse one over the wide one. Here tau
  is above 13, so the factor differs from 1 by less than 2^-4000. At most five tables are used.

So a billion draws have a distance below 2^-74.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.privacy.secret_stream import Words

Steps = npt.NDArray[np.int64]
# Returns as many uniform words of 64 bits as it is given, each time new ones.
Source = Callable[[int], Words]

# A sum of n discrete Gaussians counts as one. It is one up to a factor of 1 ± 10 n exp(-pi^2 sigma^2), which
# is below 10 n 2^-227 from here on (Kairouz, Liu, Steinke 2021, theorem 1).
LEAST_DEVIATION = 4.0
# So that a sum of 2^20 draws still fits in 64 bits.
LARGEST_DEVIATION = 2.0**38

_REACH = 12
_BITS = 128
# While a table is made, so that its rounding errors stay below 2^-128.
_WORKING_BITS = 256
_STRIDE = 256
# The largest deviation that has a table: 200,000 probabilities.
_LARGEST_TABLE = 2.0**13
_FINE = 2.0**12


def draw(deviation: float, count: int, words: Source) -> Steps:
    """Return draws of the discrete Gaussian, (count,) int64.

    Args:
        deviation: the standard deviation, in whole steps.
        count: number of draws.
        words: the randomness, such as `SecretStream.words`.

    Raises:
        InvalidInput: the deviation is below `LEAST_DEVIATION` or above `LARGEST_DEVIATION`.
    """
    if not LEAST_DEVIATION <= deviation <= LARGEST_DEVIATION:
        raise InvalidInput(
            f"Noise has a standard deviation of {deviation:g} steps, expected {LEAST_DEVIATION:g} to "
            f"{LARGEST_DEVIATION:g}.",
            next_step="Choose another step for the array in fixed_point.",
            deviation=deviation,
        )
    return _draw(float(deviation), count, words)


def _draw(deviation: float, count: int, words: Source) -> Steps:
    if deviation <= _LARGEST_TABLE:
        return _table(deviation).draw(count, words)
    fine = _table(_FINE).draw(count, words)
    coarse = _draw(math.sqrt(deviation**2 - _FINE**2) / _STRIDE, count, words)
    return fine + _STRIDE * coarse


@dataclass(frozen=True)
class _Table:
    """Cumulative probabilities of the whole numbers from `lowest` on, in units of 2^-128.

    Attributes:
        lowest: the smallest number that is drawn.
        high, low: the leading and the last 64 bits of the probability of this number and all smaller ones,
            (numbers - 1,) ascending; that of the largest number is 1.
    """

    lowest: int
    high: Words
    low: Words

    def draw(self, count: int, words: Source) -> Steps:
        found = words(count)
        places = np.searchsorted(self.high, found, side="right")
        # A word that equals the leading bits of a probability needs 64 more bits to be compared.
        for at in np.flatnonzero(self.high[np.maximum(places - 1, 0)] == found):
            first = np.searchsorted(self.high, found[at], side="left")
            equal = self.low[first : places[at]]
            places[at] = first + np.searchsorted(equal, words(1)[0], side="right")
        return places.astype(np.int64) + self.lowest


# A job has a few deviations: of each array, and of what wide ones are made of. A table takes 3 MB at most.
@lru_cache(maxsize=16)
def _table(deviation: float) -> _Table:
    weights = _weights(deviation)
    total = 2 * sum(weights) - weights[0]
    numbers = [*reversed(weights), *weights[1:]]
    high, low, seen = [], [], 0
    for weight in numbers[:-1]:
        seen += weight
        cumulative = (seen << _BITS) // total
        high.append(cumulative >> 64)
        low.append(cumulative & (1 << 64) - 1)
    return _Table(1 - len(weights), np.array(high, np.uint64), np.array(low, np.uint64))


def _weights(deviation: float) -> list[int]:
    """Return exp(-k^2 / (2 deviation^2)) for k = 0, 1, ... as whole numbers of 2^-256.

    They follow from each other by whole numbers alone, so they are the same on every machine.
    """
    ratio = _exp_of_minus_half_square(deviation)
    square = ratio * ratio >> _WORKING_BITS
    found = [1 << _WORKING_BITS]
    for _ in range(math.ceil(_REACH * deviation)):
        found.append(found[-1] * ratio >> _WORKING_BITS)
        ratio = ratio * square >> _WORKING_BITS
    return found


def _exp_of_minus_half_square(deviation: float) -> int:
    """Return exp(-1 / (2 deviation^2)) as a whole number of 2^-256, by its series."""
    over, under = deviation.as_integer_ratio()
    numerator, denominator = under * under, 2 * over * over
    total = term = 1 << _WORKING_BITS
    at = 0
    while term:
        at += 1
        term = term * numerator // (denominator * at)
        total += term if at % 2 == 0 else -term
    return total
