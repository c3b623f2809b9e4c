"""What a coordinator can do instead of adding the clients' vectors up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.federation.robust import (
    groups_of,
    krum_sum,
    median_sum,
    norm_bounded_sum,
    trimmed_sum,
)

# (clients, values) in the order of the ids -> an estimate of their sum (values,).
Estimate = Callable[[np.ndarray], np.ndarray]

# The share of liars that the robust means are set for, and a lower one that costs less.
WITHSTOOD, FEW = 0.2, 0.1


@dataclass(frozen=True)
class Defence:
    """A way to merge vectors of which some are false.

    Attributes:
        name: name in the tables.
        estimate: estimates the sum of vectors.
        group: number of clients whose sum is one vector of the estimate; 1 for single clients.
        in_ranges: whether clients can only send values within the public ranges of the merge rule.
    """

    name: str
    estimate: Estimate
    group: int = 1
    in_ranges: bool = True

    def total(self, vectors: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
        """Return the estimated sum (values,) float64 of these vectors (client id -> (values,)).

        Args:
            vectors: client id -> (values,).
            seed: of the deal into groups.
        """
        if self.group == 1:
            return self.estimate(np.stack([vectors[name] for name in sorted(vectors)]))
        groups = groups_of(list(vectors), self.group, seed)
        return self.estimate(np.stack([plain(np.stack([vectors[name] for name in own])) for own in groups]))


def plain(vectors: np.ndarray) -> np.ndarray:
    """Return the sum of the vectors."""
    return np.asarray(np.sum(vectors, axis=0, dtype=np.float64))


def capped(vectors: np.ndarray, largest: float) -> np.ndarray:
    """Return the sum of the vectors with values of at most `largest`."""
    return plain(np.minimum(vectors, largest))


def krum(vectors: np.ndarray) -> np.ndarray:
    """Return Krum's choice of one vector, times the clients."""
    return krum_sum(vectors, int(WITHSTOOD * len(vectors)))


def multi_krum(vectors: np.ndarray) -> np.ndarray:
    """Return the mean of the vectors that multi-Krum keeps, times the clients."""
    liars = int(WITHSTOOD * len(vectors))
    return krum_sum(vectors, liars, len(vectors) - liars)


NONE = Defence("none", plain, in_ranges=False)
RANGES_ONLY = Defence("public ranges", plain)
NORM_BOUND = Defence("norm bound", norm_bounded_sum)
TRIMMED = Defence("trimmed mean, 10 %", partial(trimmed_sum, share=FEW))
TRIMMED_MORE = Defence("trimmed mean, 20 %", partial(trimmed_sum, share=WITHSTOOD))
MEDIAN = Defence("median", median_sum)
KRUM = Defence("Krum", krum)
MULTI_KRUM = Defence("multi-Krum", multi_krum)
# 5 % of the clients reach at most a share of 5 % times the size of the groups.
SMALL_GROUPS = Defence("trimmed mean of groups of 3, 15 %", partial(trimmed_sum, share=0.15), group=3)
GROUPS = Defence("trimmed mean of groups of 5, 25 %", partial(trimmed_sum, share=0.25), group=5)
GROUPS_MEDIAN = Defence("median of groups of 5", median_sum, group=5)
LARGE_GROUPS_MEDIAN = Defence("median of groups of 10", median_sum, group=10)
