"""The head of a ledger. Whoever keeps it elsewhere can detect any change of the entries up to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InvalidInput
from models.ledger.chain import GENESIS, Entry

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Head:
    """The number of entries of a ledger and the hash of the last one, which determines them all.

    Attributes:
        count: number of entries; 0 for an empty ledger.
        sha256: hash of the last entry; `GENESIS` for an empty ledger.
    """

    count: int
    sha256: str

    def __str__(self) -> str:
        return f"entry {self.count} ({self.sha256[:12]})"

    @classmethod
    def of_json(cls, value: Any) -> Head:
        """Return the head in `value`, a JSON object of a head's attributes. The value need not be trusted.

        Raises:
            InvalidInput: the value is not a head.
        """
        if isinstance(value, Mapping) and value.keys() == {"count", "sha256"}:
            count, sha256 = value["count"], value["sha256"]
            if type(count) is int and count >= 0 and isinstance(sha256, str) and _SHA256.fullmatch(sha256):
                return cls(count, sha256)
        raise InvalidInput("A ledger's head must have a count of entries and the SHA-256 of the last entry.")


EMPTY = Head(0, GENESIS)


def head_of(last: Entry | None) -> Head:
    """Return the head of the ledger that ends with `last`, or of the empty ledger if `last` is None."""
    return Head(last.seq, last.hash) if last else EMPTY


def divergence(entries: Sequence[Entry], head: Head) -> str | None:
    """Return how a ledger differs from the one that had `head`, or None if it starts with the same entries.

    Args:
        entries: the whole ledger, verified by `chain.verify`.
        head: the ledger's head at an earlier time.
    """
    if head.count > len(entries):
        return f"it has {len(entries)} entries, but had {head.count} before"
    found = head_of(entries[head.count - 1] if head.count else None)
    if found != head:
        return f"entry {head.count} is {found.sha256[:12]}, but was {head.sha256[:12]} before"
    return None
