"""Random numbers that belong to a user, independent of where the user's data are.

A generator's numbers depend on earlier draws, and therefore on a client's other users. Here each number is a
function of the user's key, the step of the chain and a counter. The same user gets the same numbers in a silo
of a hundred users, in a client of one user and in pooled data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.kernel.seeds import seed_for
from models.kernel.splitmix import GOLDEN, Keys, mix

Float64Array = npt.NDArray[np.float64]


def user_keys(seed: int, purpose: str, user_ids: Sequence[str]) -> Keys:
    """Return a key for each user id, (users,). Without the seed, a key reveals nothing about the id."""
    return np.array([seed_for(seed, purpose, user_id) for user_id in user_ids], dtype=np.uint64)


def uniforms(keys: Keys, step: int | npt.NDArray[np.integer], n: int) -> Float64Array:
    """Return uniform numbers in (0, 1), both ends excluded, of shape (users, n).

    Args:
        keys: (users,), from `user_keys`.
        step: number of the draw in the chain, one for all users or (users,). Different steps give different
            numbers.
        n: numbers per user.
    """
    of_step = _mixed(keys + _multiples(np.asarray(step) + 1))
    counters = _multiples(np.arange(1, n + 1))
    bits = _mixed(of_step[:, np.newaxis] + counters) >> np.uint64(11)
    return np.asarray((bits + 0.5) * 2.0**-53, dtype=np.float64)


def normals(keys: Keys, step: int, n: int) -> Float64Array:
    """Return standard normal numbers of shape (users, n), by inversion."""
    from scipy.special import ndtri

    return np.asarray(ndtri(uniforms(keys, step, n)))


def gammas(keys: Keys, step: int, shapes: Float64Array) -> Float64Array:
    """Return a gamma-distributed number of each user's shape and of rate 1, (users,), by inversion."""
    from scipy.special import gammaincinv

    return np.asarray(gammaincinv(shapes, uniforms(keys, step, 1)[:, 0]))


def _multiples(counts: npt.NDArray[np.integer]) -> Keys:
    return np.atleast_1d(counts).astype(np.uint64) * GOLDEN  # modulo 2**64


def _mixed(counters: Keys) -> Keys:
    # Once is not enough, because the counters of one key are an arithmetic progression.
    return mix(mix(counters))
