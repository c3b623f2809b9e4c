"""Cohorts whose members and coordinator run in one process, for the tests of secure sums."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from models.kernel.bit_packing import Unsigned, word_type
from models.secure_sum import member as moments
from models.secure_sum.cohort import Cohort, announce, read_cohort
from models.secure_sum.coordinator import SecureSum
from models.secure_sum.primitives.keys import MemberKeys
from models.secure_sum.record import MemberRecord
from models.secure_sum.session import Session
from models.secure_sum.vectors import Layout

JOB = "job"
SMALL = Layout((3, 2), (21, 40))
Vectors = Mapping[str, Sequence[Unsigned]]


def new_member(name: str) -> MemberKeys:
    return MemberKeys(name, Ed25519PrivateKey.generate(), X25519PrivateKey.generate())


def new_members(count: int) -> dict[str, MemberKeys]:
    return {f"silo-{number:03d}": new_member(f"silo-{number:03d}") for number in range(count)}


def cohort_of(members: Mapping[str, MemberKeys], job: str = JOB) -> Cohort:
    roster = {name: member.identity.public_key() for name, member in members.items()}
    return read_cohort(job, roster, {name: announce(member, job) for name, member in members.items()})


def vectors_of(names: Collection[str], layout: Layout, seed: int = 0) -> Vectors:
    random = np.random.default_rng(seed)
    return {
        name: [
            random.integers(0, 2**width - 1, count, dtype=np.uint64, endpoint=True).astype(word_type(width))
            for count, width in zip(layout.counts, layout.widths, strict=True)
        ]
        for name in names
    }


def plain_sum(vectors: Vectors, names: Collection[str], layout: Layout) -> list[list[int]]:
    """Return the sum by Python's own integers."""
    return [
        [sum(int(vectors[name][block][row]) for name in names) % 2**width for row in range(count)]
        for block, (count, width) in enumerate(zip(layout.counts, layout.widths, strict=True))
    ]


@dataclass
class World:
    """One session: the members with their records, and an honest coordinator."""

    members: dict[str, MemberKeys]
    session: Session
    layout: Layout = SMALL
    records: dict[str, MemberRecord] = field(default_factory=dict)
    sum: SecureSum = field(init=False)
    vectors: Vectors = field(init=False)

    def __post_init__(self) -> None:
        self.sum = SecureSum(self.session, self.layout)
        self.vectors = vectors_of(sorted(self.members), self.layout)

    @property
    def names(self) -> list[str]:
        return list(self.session.cohort.names)

    def prepared(self, name: str) -> bytes:
        self.records[name], message = moments.prepare(self.members[name], self.session)
        return message

    def masked(self, name: str, request: bytes) -> bytes:
        self.records[name], message = moments.mask(
            self.members[name], self.session, self.records[name], request, self.layout, self.vectors[name]
        )
        return message

    def agreed(self, name: str, request: bytes) -> bytes:
        self.records[name], message = moments.agree(
            self.members[name], self.session, self.records[name], request
        )
        return message

    def revealed(self, name: str, request: bytes) -> bytes:
        return moments.reveal(self.members[name], self.session, self.records[name], request)

    def prepare(self, names: Collection[str]) -> None:
        for name in names:
            self.sum.add_prepared(name, self.prepared(name))

    def mask(self, names: Collection[str]) -> None:
        for name in names:
            self.sum.add_masked(name, self.masked(name, self.sum.mask_request(name)))

    def agree(self, names: Collection[str]) -> None:
        for name in names:
            self.sum.add_agreed(name, self.agreed(name, self.sum.agree_request(name)))

    def reveal(self, names: Collection[str]) -> None:
        for name in names:
            self.sum.add_revealed(name, self.revealed(name, self.sum.reveal_request(name)))

    def total(self) -> list[list[int]]:
        return [block.tolist() for block in self.sum.total()]

    def wanted(self, names: Collection[str]) -> list[list[int]]:
        return plain_sum(self.vectors, names, self.layout)


def world(count: int, session: str = "round 1", layout: Layout = SMALL) -> World:
    members = new_members(count)
    return World(members, Session(cohort_of(members), session), layout)


def changed(message: bytes, place: int) -> bytes:
    """Return a message with one bit flipped; `place` counts bits and wraps around."""
    data = bytearray(message)
    data[place // 8 % len(data)] ^= 1 << place % 8
    return bytes(data)


Change = Callable[[bytes], bytes]
