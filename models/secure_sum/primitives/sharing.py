"""Seeds in shares: Shamir's secret sharing (1979) over GF(2^128), of PyCryptodome.

`Shamir.combine` notices no wrong share: it returns another secret. So whoever combines shares needs a test of
the result, and `recover` uses it to find the holders whose shares are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, islice

from Crypto.Protocol.SecretSharing import Shamir

SEED_BYTES = 16
# Combining 15 shares takes 11 ms, 22 take 30 ms, so a search takes seconds. It finds any two wrong shares of
# 17.
MOST_TRIES = 200


@dataclass(frozen=True)
class Recovered:
    """A seed, and who gave a wrong share of it."""

    seed: bytes
    wrong: tuple[int, ...]


def split(seed: bytes, needed: int, holders: int) -> list[bytes]:
    """Return one share (16 bytes) for each holder, of which `needed` give the seed."""
    return [share for _, share in Shamir.split(needed, holders, seed)]


def recover(shares: Mapping[int, bytes], needed: int, is_seed: Callable[[bytes], bool]) -> Recovered | None:
    """Return the seed from its shares, and the places of those that are wrong.

    Args:
        shares: place of the holder, from 0 -> its share; at least `needed`.
        needed: number of shares that give the seed.
        is_seed: whether a combination is the seed.

    Returns:
        None if no tried combination is the seed: too many shares are wrong.
    """
    places = sorted(shares)
    for chosen in islice(_choices(places, needed), MOST_TRIES):
        seed = _combined(shares, chosen)
        if is_seed(seed):
            suspects = [place for place in places if place not in chosen]
            # The first choice is right unless someone lies, and then nobody needs to be checked.
            if chosen == tuple(places[:needed]):
                return Recovered(seed, ())
            wrong = [place for place in suspects if _combined(shares, (*chosen[1:], place)) != seed]
            return Recovered(seed, tuple(wrong))
    return None


def _choices(places: list[int], needed: int) -> Iterator[tuple[int, ...]]:
    """Yield choices of `needed` places: the first ones, then with one of them replaced, then with two."""
    for replaced in range(len(places) - needed + 1):
        pool = places[: needed + replaced]
        # Each choice of this size once: the last of the pool is what smaller pools did not have.
        for left_out in combinations(pool[:-1] if replaced else pool, replaced):
            yield tuple(place for place in pool if place not in left_out)


def _combined(shares: Mapping[int, bytes], places: tuple[int, ...]) -> bytes:
    return Shamir.combine([(place + 1, shares[place]) for place in places])
