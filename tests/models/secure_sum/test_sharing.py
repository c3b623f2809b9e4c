"""Shares give the seed back, and wrong ones are noticed and named."""

from __future__ import annotations

import os
from itertools import combinations

import pytest

from models.secure_sum.primitives.sharing import MOST_TRIES, recover, split

SEED = bytes(range(16))


def is_seed(seed: bytes) -> bool:
    return seed == SEED


@pytest.mark.parametrize("chosen", list(combinations(range(5), 3)))
def test_any_shares_that_suffice_give_the_seed(chosen: tuple[int, ...]) -> None:
    shares = split(SEED, 3, 5)
    found = recover({place: shares[place] for place in chosen}, 3, is_seed)
    assert found is not None
    assert (found.seed, found.wrong) == (SEED, ())


def test_fewer_shares_fit_every_seed() -> None:
    # Two points fit a parabola through any secret, so their line meets the seed with probability 2^-128.
    shares = split(SEED, 3, 5)
    assert recover({0: shares[0], 1: shares[1]}, 2, is_seed) is None


@pytest.mark.parametrize("liars", [(0,), (3,), (0, 1), (2, 6), (5, 6)])
def test_wrong_shares_are_named_if_right_ones_suffice(liars: tuple[int, ...]) -> None:
    shares = dict(enumerate(split(SEED, 5, 7)))
    for liar in liars:
        shares[liar] = os.urandom(16)
    found = recover(shares, 5, is_seed)
    assert found is not None
    assert found.seed == SEED
    # Shares behind those that gave the seed at once are not looked at.
    assert found.wrong == (() if min(liars) >= 5 else liars)


def test_too_many_wrong_shares_give_no_seed() -> None:
    shares = dict(enumerate(split(SEED, 5, 7)))
    shares |= {0: bytes(16), 3: bytes(16), 4: bytes(16)}
    assert recover(shares, 5, is_seed) is None


def test_the_search_is_bounded() -> None:
    tried: list[bytes] = []
    shares = dict(enumerate(split(SEED, 10, 30)))
    assert recover(shares, 10, lambda seed: bool(tried.append(seed))) is None
    assert len(tried) == MOST_TRIES
