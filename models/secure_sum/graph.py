"""Who masks against whom, and how many must stay: the neighbours in a session and its thresholds.

In a cohort of at most `COMPLETE` members everyone is a neighbour of everyone. In a larger one each member has
`DEGREE` neighbours: the nearest on a ring in pseudorandom order, a Harary graph (Bell et al. 2020, "Secure
Single-Server Aggregation with (Poly)Logarithmic Overhead"). `threshold` applies to the cohort, and to a
member with its neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

# The least cohort: of two members, each knows the other's summand from the sum.
FEWEST = 3
COMPLETE = 32
# If 5 % of 1000 members collude, some member has so many of them around it that they open its seeds with
# probability 2^-47. With more neighbours it is rarer, but splitting seeds takes time with their square: 6 ms.
DEGREE = 22


def threshold(size: int) -> int:
    """Return the least number of `size` members that must answer: more than two thirds.

    Any two groups of so many members share more than a third of the members, hence an honest one if less than
    a third collude.
    """
    return 2 * size // 3 + 1


# In a simulation each member of a process asks for the same graph several times in a session.
@lru_cache(maxsize=64)
def neighbours(names: tuple[str, ...], seed: str) -> Mapping[str, tuple[str, ...]]:
    """Return each member's neighbours, in the order of their names.

    Args:
        names: the members, without repetition.
        seed: decides the order on the ring.
    """
    if len(names) <= COMPLETE:
        graph = {name: tuple(sorted(other for other in names if other != name)) for name in names}
        return MappingProxyType(graph)
    ring = sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    steps = [step for step in range(-DEGREE // 2, DEGREE // 2 + 1) if step]
    graph = {
        name: tuple(sorted(ring[(place + step) % len(ring)] for step in steps))
        for place, name in enumerate(ring)
    }
    return MappingProxyType(graph)
