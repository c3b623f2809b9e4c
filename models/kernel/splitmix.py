"""SplitMix64's output function: random numbers that are addressed by a counter instead of drawn in a row.

A generator for each user would be as independent of the others, but costs 20 µs to set up.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]

# Counters are multiples of it, modulo 2**64.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed(state: Keys) -> Keys:
    """The numbers at these counters (Steele, Lea & Flood 2014)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
