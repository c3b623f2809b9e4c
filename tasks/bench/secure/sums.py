"""Times single sums, with all members and the coordinator in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from models.errors import FedrecError
from models.kernel.bit_packing import Unsigned
from models.kernel.seeds import generator_for
from models.secure_sum import member
from models.secure_sum.cohort import Cohort, announce, read_cohort
from models.secure_sum.coordinator import SecureSum
from models.secure_sum.primitives.keys import MemberKeys
from models.secure_sum.record import MemberRecord
from models.secure_sum.session import Session
from models.secure_sum.vectors import Layout

BITS = 16
_SEED = 1


@dataclass(frozen=True)
class SumCase:
    """A sum that is timed.

    Attributes:
        members: their number.
        values: number of values of 16 bits of each summand.
    """

    members: int
    values: int

    @property
    def width(self) -> int:
        """Return the bits of a value of the sum."""
        return BITS + (self.members - 1).bit_length()


# Embeddings of 32 dims, a bias and two accumulators of each item of MovieLens-100K; and without these two.
FULL = (SumCase(21, 1682 * 35), SumCase(100, 1682 * 33), SumCase(1000, 1682 * 33))
QUICK = (SumCase(5, 1000), SumCase(40, 1000))


def sum_row(case: SumCase, repeats: int) -> dict[str, Any]:
    """Return the seconds of a sum's parts, the median of some sums, and its bytes.

    Raises:
        FedrecError: the secure sum is not the plain one.
    """
    names = [f"member-{number:04d}" for number in range(case.members)]
    keys = {
        name: MemberKeys(name, Ed25519PrivateKey.generate(), X25519PrivateKey.generate()) for name in names
    }
    roster = {name: each.identity.public_key() for name, each in keys.items()}
    cohort = read_cohort("bench", roster, {name: announce(each, "bench") for name, each in keys.items()})
    layout = Layout((case.values,), (case.width,))
    random = generator_for(_SEED, "secure")
    summands = {name: random.integers(0, 2**BITS, case.values).astype(np.uint32) for name in names}
    # The first sum also makes the keys that two members share in all sums of a job.
    runs = [_timed(cohort, keys, layout, summands, number) for number in range(1 + repeats)][1:]
    parts = {name: round(median(run[name] for run in runs), 4) for name in runs[0]}
    return {
        "members": case.members,
        "values": case.values,
        "sum_s": round(median(sum(run.values()) for run in runs), 4),
        "parts_s": parts,
        "bytes_of_summand": layout.packed_bytes,
    }


def _timed(
    cohort: Cohort,
    keys: Mapping[str, MemberKeys],
    layout: Layout,
    summands: Mapping[str, Unsigned],
    number: int,
) -> dict[str, float]:
    session = Session(cohort, f"train-{number:06d}")
    protocol, seconds = SecureSum(session, layout), dict[str, float]()
    records: dict[str, MemberRecord] = {}

    def part(name: str, do: Callable[[str], None]) -> None:
        began = time.perf_counter()
        for each in keys:
            do(each)
        seconds[name] = time.perf_counter() - began

    def prepare(name: str) -> None:
        records[name], message = member.prepare(keys[name], session)
        protocol.add_prepared(name, message)

    def mask(name: str) -> None:
        request = protocol.mask_request(name)
        records[name], message = member.mask(
            keys[name], session, records[name], request, layout, (summands[name],)
        )
        protocol.add_masked(name, message)

    def agree(name: str) -> None:
        request = protocol.agree_request(name)
        records[name], message = member.agree(keys[name], session, records[name], request)
        protocol.add_agreed(name, message)

    def reveal(name: str) -> None:
        request = protocol.reveal_request(name)
        protocol.add_revealed(name, member.reveal(keys[name], session, records[name], request))

    part("prepare", prepare)
    part("mask", mask)
    part("agree", agree)
    if protocol.needs_reveal:
        part("reveal", reveal)
    began = time.perf_counter()
    (total,) = protocol.total()
    seconds["open"] = time.perf_counter() - began
    expected = np.zeros_like(total)
    for each in summands.values():
        expected += each
    if not np.array_equal(total, expected & np.uint32(2 ** layout.widths[0] - 1)):
        raise FedrecError("A secure sum is not the plain one.")
    return seconds
