"""All randomness of a job, derived from one seed."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def seed_for(root: int, *scope: str | int) -> int:
    """A 64-bit seed for one purpose, independent of all other purposes.

    Args:
        root: the job's seed.
        *scope: what the randomness is for, from wide to narrow: purpose, round, client.
    """
    # JSON keeps ("a", 1) and ("a1",) apart; SHA-256 makes neighbouring scopes unrelated.
    name = json.dumps([root, *scope])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def generator_for(root: int, *scope: str | int) -> np.random.Generator:
    """A numpy generator seeded by `seed_for`."""
    return np.random.Generator(np.random.PCG64(seed_for(root, *scope)))
