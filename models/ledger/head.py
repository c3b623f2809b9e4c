"""The head of a ledger: once somebody else knows it, nothing before it can be changed unseen."""

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
    """How many entries a ledger has, and the hash of the last, which fixes them all.

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
        """The head that `vars` of one gives as JSON values.

        Raises:
            InvalidInput: the value, from anybody, is none.
        """
        if isinstance(value, Mapping) and value.keys() == {"count", "sha256"}:
            count, sha256 = value["count"], value["sha256"]
            if type(count) is int and count >= 0 and isinstance(sha256, str) and _SHA256.fullmatch(sha256):
                return cls(count, sha256)
        raise InvalidInput("The head of a ledger is a count of entries and the SHA-256 of the last of them.")


EMPTY = Head(0, GENESIS)


def head_of(last: Entry | None) -> Head:
    """The head of the ledger whose last entry this is; of the empty one where there is none."""
    return Head(last.seq, last.hash) if last else EMPTY


def why_not_on(entries: Sequence[Entry], head: Head) -> str | None:
    """What is wrong with a ledger that once had this head; None where it begins with what it had then.

    Args:
        entries: the whole ledger, verified by `chain.verify`.
        head: of an earlier time.
    """
    if head.count > len(entries):
        return f"it has {len(entries)} entries where it once had {head.count}"
    found = head_of(entries[head.count - 1] if head.count else None)
    if found != head:
        return f"entry {head.count} is {found.sha256[:12]}, and was {head.sha256[:12]}"
    return None
