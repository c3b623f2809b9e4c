"""Seeds: derived from the names of their purpose, and the same on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.kernel.seeds import generator_for, seed_for

SCOPES = st.lists(st.one_of(st.text(max_size=4), st.integers(0, 99)), max_size=4)


def test_a_seed_is_the_head_of_a_hash_of_its_scope():
    head = hashlib.sha256(b'[7, "order", "ash", 3]').digest()[:8]
    assert seed_for(7, "order", "ash", 3) == int.from_bytes(head, "big")


def test_scopes_with_the_same_concatenation_have_different_seeds():
    alike = [("a", 1), ("a1",), ("a", "1"), ("a", 1, ""), ("", "a", 1), (1, "a")]
    assert len({seed_for(7, *scope) for scope in alike}) == len(alike)


@given(SCOPES, SCOPES, st.integers(0, 2**31), st.integers(0, 2**31))
def test_only_equal_scopes_share_a_seed(one, other, root, other_root):
    seeds = seed_for(root, *one), seed_for(other_root, *other)
    assert (seeds[0] == seeds[1]) == ((root, one) == (other_root, other))
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_a_generator_starts_from_its_seed():
    drawn = generator_for(7, "items").random(5)
    assert np.array_equal(drawn, np.random.Generator(np.random.PCG64(seed_for(7, "items"))).random(5))
    assert np.array_equal(drawn, generator_for(7, "items").random(5))
    assert not np.array_equal(drawn, generator_for(7, "users").random(5))
