"""Robust estimates of a sum over clients, some of which may send anything.

Each function takes the clients' vectors in the order of their ids and returns an estimate of their sum: a
robust mean times the number of clients. So a merge rule can take it in place of the sum.

A plain sum follows a single liar anywhere. A robust mean stays near the honest clients as long as the liars
are fewer than it is made for. It needs the vectors of single clients, or the sums of groups of them
(`groups_of`) where only sums are revealed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.errors import InvalidInput
from models.kernel.arrays import FloatArray
from models.kernel.seeds import generator_for

Float64Array = npt.NDArray[np.float64]


class Vector(Protocol):
    """A vector of which parts are read, as of an array of one axis."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice, /) -> FloatArray: ...


# (clients, values), or one vector of values for each client.
Vectors = Sequence[FloatArray] | Sequence[Vector] | FloatArray

# Values in float64 at once: 32 MB.
_MOST_VALUES = 1 << 22


def norm_bounded_sum(vectors: Vectors, bound: float | None = None, *, multiple: float = 1.0) -> Float64Array:
    """Return the sum of the vectors, each shortened to a largest norm (norm clipping, Sun et al. 2019).

    Args:
        vectors: (clients, values).
        bound: the largest Euclidean norm; None for `multiple` times the median norm.
        multiple: factor on the median norm.

    Raises:
        InvalidInput: `checked` raises it, or the bound or the factor is not positive.
    """
    if not (multiple > 0.0 and (bound is None or bound > 0.0)):
        raise InvalidInput(
            f"A bound on norms must be positive, got bound {bound} and multiple {multiple}.",
            next_step="Give a bound above 0, or a multiple above 0 of the median norm.",
        )
    checked(vectors)
    norms = np.sqrt(sum((np.square(part).sum(axis=0) for part in _columns(vectors)), np.zeros(len(vectors))))
    limit = multiple * float(np.median(norms)) if bound is None else bound
    factors = np.divide(limit, norms, out=np.ones_like(norms), where=norms > limit)
    # Not as a product of matrices, whose last bits depend on the library and its threads.
    return np.concatenate([(part * factors).sum(axis=1) for part in _columns(vectors)])


def trimmed_sum(vectors: Vectors, share: float) -> Float64Array:
    """Return the coordinate-wise trimmed mean times the number of clients (Yin et al. 2018, definition 2).

    Of each value, floor(share * clients) of the lowest and as many of the highest are left out.

    Args:
        vectors: (clients, values).
        share: the share left out at each end, in [0, 0.5). It is a bound on the share of liars.

    Raises:
        InvalidInput: `checked` raises it, or the share is out of range.
    """
    if not 0.0 <= share < 0.5:  # noqa: PLR2004 - half of the clients at each end is all of them
        raise InvalidInput(
            f"A trimmed mean cannot leave out a share of {share} at each end.",
            next_step="Choose a share from 0 up to, but below, 0.5.",
        )
    checked(vectors)
    n = len(vectors)
    cut = whole_share(share, n)
    middle, factor = slice(cut, n - cut), n / (n - 2 * cut)
    # All are sorted, so that the sum of the rest does not depend on the order of the clients.
    return np.concatenate(
        [np.sort(part, axis=1)[:, middle].sum(axis=1) * factor for part in _columns(vectors)]
    )


def median_sum(vectors: Vectors) -> Float64Array:
    """Return the coordinate-wise median times the number of clients (Yin et al. 2018, definition 1).

    Args:
        vectors: (clients, values).

    Raises:
        InvalidInput: `checked` raises it.
    """
    checked(vectors)
    return np.concatenate([np.median(part, axis=1) * len(vectors) for part in _columns(vectors)])


def krum_sum(vectors: Vectors, liars: int, kept: int = 1) -> Float64Array:
    """Return the mean of the vectors that Krum keeps, times the number of clients.

    Krum keeps the vector with the least sum of squared distances to its n - f - 2 nearest others, of n
    vectors and f liars. Multi-Krum keeps several (Blanchard et al. 2017). In a tie the earlier client is
    kept.

    Args:
        vectors: (clients, values).
        liars: f, the largest number of liars that it withstands.
        kept: number of vectors kept: 1 for Krum.

    Raises:
        InvalidInput: `checked` raises it, there are fewer than 2 f + 3 vectors, or `kept` is not between 1
            and n - f.
    """
    checked(vectors)
    n = len(vectors)
    if not (liars >= 0 and n >= 2 * liars + 3):
        raise InvalidInput(
            f"Krum withstands {liars} liars only among at least {2 * liars + 3} clients, got {n}.",
            next_step="Select more clients for each round, or assume fewer liars.",
        )
    if not 1 <= kept <= n - liars:
        raise InvalidInput(
            f"Krum cannot keep {kept} of {n} vectors with {liars} liars.",
            next_step=f"Keep between 1 and {n - liars} of them.",
        )
    nearest = np.sort(_squared_distances(vectors), axis=1)[:, 1 : n - liars - 1]  # the first is the own, 0
    chosen = np.sort(np.argsort(nearest.sum(axis=1), kind="stable")[:kept])
    return np.concatenate([part[:, chosen].mean(axis=1) * n for part in _columns(vectors)])


def groups_of(client_ids: Sequence[str], size: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Return the cohort dealt into groups, whose sums a robust mean can take in place of single vectors.

    The groups have `size` clients or more, and differ by at most one client. Each is sorted. The deal depends
    on the set of clients and the seed only, so liars cannot choose their groups.

    Args:
        client_ids: the cohort, in any order.
        size: least number of clients in a group. A cohort of fewer is one group.
        seed: seed of the deal.

    Raises:
        InvalidInput: a client occurs twice, there is no client, or the size is not positive.
    """
    cohort = sorted(client_ids)
    if size < 1 or not cohort or len(set(cohort)) < len(cohort):
        raise InvalidInput(
            f"{len(cohort)} client ids cannot be dealt into groups of {size}.",
            next_step="Give each client once, at least one client, and a size of at least 1.",
        )
    dealt = generator_for(seed, "groups").permutation(len(cohort))
    parts = np.array_split(dealt, max(1, len(cohort) // size))
    return tuple(tuple(cohort[place] for place in np.sort(part)) for part in parts)


def whole_share(share: float, count: int) -> int:
    """Return a share of a number of clients, rounded down."""
    # In decimals, as the share was written. In floats, 0.29 * 100 is below 29.
    return math.floor(Fraction(str(share)) * count)


def checked(vectors: Vectors) -> None:
    """Raise `InvalidInput` unless there is a vector, all have one length, and all values are finite."""
    lengths = sorted({np.shape(vector) for vector in vectors})
    if len(lengths) != 1 or len(lengths[0]) != 1:
        raise InvalidInput(
            f"A robust sum needs vectors of one length, got {len(vectors)} of shapes {lengths}.",
            next_step="Give one vector for each client, all for the same model.",
        )
    for place, vector in enumerate(vectors):
        if not np.isfinite(vector[:]).all():
            raise InvalidInput(
                f"The vector at position {place} has a value that is not finite.",
                next_step="Reject that client's update before the merge.",
            )


def _columns(vectors: Vectors) -> Iterator[Float64Array]:
    """Yield the values in order, in parts of (values, clients), so that few are in float64 at once."""
    n, size = len(vectors), len(vectors[0])
    step = max(1, _MOST_VALUES // n)
    for start in range(0, max(size, 1), step):
        part = np.stack([vector[start : start + step] for vector in vectors], axis=1)
        yield np.ascontiguousarray(part, dtype=np.float64)


def _squared_distances(vectors: Vectors) -> Float64Array:
    """Return (clients, clients). They are sums of squared differences, as products would lose small ones."""
    from scipy.spatial.distance import pdist, squareform

    pairs = len(vectors) * (len(vectors) - 1) // 2
    found = sum((pdist(part.T, "sqeuclidean") for part in _columns(vectors)), np.zeros(pairs))
    return np.asarray(squareform(found))
