"""Random numbers that belong to a user, wherever that user's data lie.

A generator's numbers depend on what was drawn before, and so on who else is among a client's users. Here each
number is a function of the user's key, the step of the chain and a counter. So the same user draws the same
numbers in a silo of a hundred users, in a client of one, and in pooled data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtri

from models.kernel.seeds import seed_for
from models.kernel.splitmix import GOLDEN, Keys, mixed

Float64Array = npt.NDArray[np.float64]


def user_keys(seed: int, purpose: str, user_ids: Sequence[str]) -> Keys:
    """(users,): a key for each user id, which says nothing of the id to those who do not know the seed."""
    return np.array([seed_for(seed, purpose, each) for each in user_ids], dtype=np.uint64)


def uniforms(keys: Keys, step: int | npt.NDArray[np.integer], n: int) -> Float64Array:
    """(users, n): numbers inside (0, 1), never at its ends.

    Args:
        keys: (users,), as from `user_keys`.
        step: which draw of the chain this is, or (users,) one for each; other steps draw other numbers.
        n: how many numbers for each user.
    """
    of_step = _mixed(keys + _multiples(np.asarray(step) + 1))
    counters = _multiples(np.arange(1, n + 1))
    bits = _mixed(of_step[:, np.newaxis] + counters) >> np.uint64(11)
    return np.asarray((bits + 0.5) * 2.0**-53, dtype=np.float64)


def normals(keys: Keys, step: int, n: int) -> Float64Array:
    """(users, n): standard normal numbers, by inversion."""
    return np.asarray(ndtri(uniforms(keys, step, n)))


def gammas(keys: Keys, step: int, shapes: Float64Array) -> Float64Array:
    """(users,): one number for each user gamma distributed with its shape and rate 1, by inversion."""
    return np.asarray(gammaincinv(shapes, uniforms(keys, step, 1)[:, 0]))


def _multiples(counts: npt.NDArray[np.integer]) -> Keys:
    return np.atleast_1d(counts).astype(np.uint64) * GOLDEN  # modulo 2**64


def _mixed(counters: Keys) -> Keys:
    """Mixed twice: keys follow each other simply."""
    return mixed(mixed(counters))
