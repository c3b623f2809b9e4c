"""A chain of entries, each holding the hash of the one before: an edit anywhere breaks it from there on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import LedgerTampered

GENESIS = "0" * 64
_LEDGER = "ledger"


@dataclass(frozen=True)
class Entry:
    """One link.

    Attributes:
        seq: 1, 2, 3, ...
        prev: hash of the entry before; `GENESIS` for the first.
        body: what happened, as JSON values.
        hash: SHA-256 over the canonical JSON of the other three.
    """

    seq: int
    prev: str
    body: Mapping[str, Any]
    hash: str

    def line(self) -> str:
        """The entry as one line of canonical JSON, without a line break."""
        return canonical({"seq": self.seq, "prev": self.prev, "body": self.body, "hash": self.hash})


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def append(entries: Sequence[Entry], body: Mapping[str, Any]) -> Entry:
    """The entry that follows `entries` with this body."""
    return follow(entries[-1] if entries else None, body)


def follow(last: Entry | None, body: Mapping[str, Any]) -> Entry:
    """The entry that follows `last` with this body; the first one where there is no last."""
    seq, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
    return Entry(seq=seq, prev=prev, body=body, hash=_hash(seq, prev, body))


def parse(line: str, position: int, *, ledger: str = _LEDGER) -> Entry:
    """The entry that `Entry.line` wrote.

    Args:
        line: without its line break.
        position: where it stands, from 1.
        ledger: what to call the ledger in an error.

    Raises:
        LedgerTampered: the line is not exactly such a line.
    """
    try:
        found = json.loads(line)
        entry = Entry(seq=found["seq"], prev=found["prev"], body=found["body"], hash=found["hash"])
        types = (type(entry.seq), type(entry.prev), type(entry.body), type(entry.hash))
        if types != (int, str, dict, str):
            raise TypeError("its parts are of other types")
        same = entry.line() == line
    # RecursionError: JSON nested thousands of levels deep.
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise tampered(ledger, position, f"it is not an entry: {type(error).__name__}: {error}") from error
    if not same:
        raise tampered(ledger, position, "its text is not in the form in which entries are written")
    return entry


def verify(entries: Iterable[Entry], *, ledger: str = _LEDGER) -> None:
    """Nothing happens where every entry follows from the one before.

    A chain alone cannot tell that its tail was cut off; for that its last hash must be kept elsewhere too.

    Args:
        entries: the whole ledger.
        ledger: what to call the ledger in an error.

    Raises:
        LedgerTampered: names the first entry that does not.
    """
    prev = GENESIS
    for position, entry in enumerate(entries, start=1):
        if entry.seq != position:
            raise tampered(ledger, position, f"expected entry number {position}, got {entry.seq}")
        if entry.prev != prev:
            raise tampered(
                ledger, position, f"it follows {entry.prev[:12]}, but the entry before is {prev[:12]}"
            )
        actual = _hash(entry.seq, entry.prev, entry.body)
        if actual != entry.hash:
            raise tampered(
                ledger, position, f"its content hashes to {actual[:12]}, but it says {entry.hash[:12]}"
            )
        prev = entry.hash


def tampered(ledger: str, position: int, fault: str) -> LedgerTampered:
    """The error that names the first entry of a ledger that does not hold."""
    return LedgerTampered(
        f"The {ledger} was changed: entry {position} is the first that does not hold; {fault}.",
        next_step="Restore the ledger file from a copy, and ask who could write to it.",
        position=position,
        fault=fault,
    )


def _hash(seq: int, prev: str, body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({"seq": seq, "prev": prev, "body": body}).encode()).hexdigest()
