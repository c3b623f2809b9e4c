"""A hash chain: each entry holds the hash of the previous one, so an edit breaks the chain from there on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import LedgerTampered

GENESIS = "0" * 64
_LEDGER = "ledger"


@dataclass(frozen=True)
class Entry:
    """An entry of a ledger.

    Attributes:
        seq: 1, 2, 3, ...
        prev: hash of the previous entry; `GENESIS` for the first.
        body: the recorded event, as JSON values.
        hash: SHA-256 of the canonical JSON of the other three fields.
    """

    seq: int
    prev: str
    body: Mapping[str, Any]
    hash: str

    def line(self) -> str:
        """Return the entry as one line of canonical JSON, without a line break."""
        return canonical({"seq": self.seq, "prev": self.prev, "body": self.body, "hash": self.hash})


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no spaces. Equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def follow(last: Entry | None, body: Mapping[str, Any]) -> Entry:
    """Return the entry with this body that follows `last`, or the first entry if `last` is None."""
    seq, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
    return Entry(seq=seq, prev=prev, body=body, hash=_hash(seq, prev, body))


def parse(line: str, position: int, *, ledger: str = _LEDGER) -> Entry:
    """Return the entry that `Entry.line` wrote.

    Args:
        line: the line, without its line break.
        position: position of the line in the ledger, from 1.
        ledger: name of the ledger in an error.

    Raises:
        LedgerTampered: the line differs from what `Entry.line` writes.
    """
    try:
        found = json.loads(line)
        entry = Entry(seq=found["seq"], prev=found["prev"], body=found["body"], hash=found["hash"])
        types = (type(entry.seq), type(entry.prev), type(entry.body), type(entry.hash))
        if types != (int, str, dict, str):
            raise TypeError("its fields have wrong types")
        same = entry.line() == line
    # RecursionError: the JSON is nested thousands of levels deep.
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise tampered(ledger, position, f"it is not an entry: {type(error).__name__}: {error}") from error
    if not same:
        raise tampered(ledger, position, "its text is not in the canonical form")
    return entry


def verify(entries: Iterable[Entry], *, ledger: str = _LEDGER) -> None:
    """Raise `LedgerTampered` unless every entry follows from the previous one.

    A chain alone does not show that its last entries were cut off. To detect that, keep its head elsewhere.

    Args:
        entries: the whole ledger.
        ledger: name of the ledger in an error.

    Raises:
        LedgerTampered: names the first entry that does not follow.
    """
    prev = GENESIS
    for position, entry in enumerate(entries, start=1):
        if entry.seq != position:
            raise tampered(ledger, position, f"expected entry number {position}, got {entry.seq}")
        if entry.prev != prev:
            raise tampered(
                ledger, position, f"it follows {entry.prev[:12]}, but the previous entry is {prev[:12]}"
            )
        actual = _hash(entry.seq, entry.prev, entry.body)
        if actual != entry.hash:
            raise tampered(
                ledger, position, f"its content has the hash {actual[:12]}, but it states {entry.hash[:12]}"
            )
        prev = entry.hash


def tampered(ledger: str, position: int, fault: str) -> LedgerTampered:
    """Return the error that names the first invalid entry of a ledger."""
    return LedgerTampered(
        f"The {ledger} was changed: entry {position} is the first invalid one; {fault}.",
        next_step="Restore the ledger file from a copy, and find out who could write to it.",
        position=position,
        fault=fault,
    )


def _hash(seq: int, prev: str, body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({"seq": seq, "prev": prev, "body": body}).encode()).hexdigest()
