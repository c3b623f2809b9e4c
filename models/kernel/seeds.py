"""Seeds and generators for all randomness of a job, derived from one seed."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def seed_for(root: int, *scope: str | int) -> int:
    """Return a 64-bit seed for one purpose, independent of the seeds of all other purposes.

    Args:
        root: the job's seed.
        *scope: the purpose, from general to specific, for example purpose, round, client.
    """
    # JSON distinguishes ("a", 1) from ("a1",). SHA-256 makes the seeds of similar scopes unrelated.
    name = json.dumps([root, *scope])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def generator_for(root: int, *scope: str | int) -> np.random.Generator:
    """Return a numpy generator that is seeded by `seed_for`."""
    return np.random.Generator(np.random.PCG64(seed_for(root, *scope)))
