"""What a coordinator can do instead of adding the clients' vectors up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
# Client id -> vector, and a seed -> an estimate of the vectors' sum.
Defence = Callable[[Mapping[str, np.ndarray], int], np.ndarray]

# The share of liars that the robust means are set for.
WITHSTOOD = 0.2
LIGHT = 0.1


def plain(vectors: np.ndarray) -> np.ndarray:
    """Return the sum of the vectors: no defence."""
    return np.sum(vectors, axis=0, dtype=np.float64)


def trimmed(vectors: np.ndarray, share: float) -> np.ndarray:
    """Return the trimmed sum."""
    return trimmed_sum(vectors, share)


def krum(vectors: np.ndarray) -> np.ndarray:
    """Return Krum's choice of one vector, times the clients."""
    return krum_sum(vectors, int(WITHSTOOD * len(vectors)))


def multi_krum(vectors: np.ndarray) -> np.ndarray:
    """Return the mean of the vectors that multi-Krum keeps, times the clients."""
    liars = int(WITHSTOOD * len(vectors))
    return krum_sum(vectors, liars, len(vectors) - liars)


def over_clients(estimate: Estimate) -> Defence:
    """Return the defence that applies an estimate to the clients' vectors."""

    def defence(vectors: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
        return estimate(np.stack([vectors[name] for name in sorted(vectors)]))

    return defence


def over_groups(estimate: Estimate, size: int) -> Defence:
    """Return the defence that applies an estimate to sums of groups of `size` clients."""

    def defence(vectors: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
        groups = groups_of(list(vectors), size, seed)
        return estimate(np.stack([plain(np.stack([vectors[name] for name in own])) for own in groups]))

    return defence


DEFENCES: dict[str, Defence] = {
    "none": over_clients(plain),
    "norm bound": over_clients(norm_bounded_sum),
    "trimmed mean, 10 %": over_clients(partial(trimmed, share=LIGHT)),
    "trimmed mean, 20 %": over_clients(partial(trimmed, share=WITHSTOOD)),
    "median": over_clients(median_sum),
    "Krum": over_clients(krum),
    "multi-Krum": over_clients(multi_krum),
    "median of groups of 5": over_groups(median_sum, 5),
    "median of groups of 10": over_groups(median_sum, 10),
    "trimmed mean of groups of 5": over_groups(partial(trimmed, share=2 * WITHSTOOD), 5),
}
