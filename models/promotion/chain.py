"""A chain of entries, each holding the hash of the one before: an edit anywhere breaks it from there on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import LedgerTampered

GENESIS = "0" * 64


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
    seq, prev = len(entries) + 1, entries[-1].hash if entries else GENESIS
    return Entry(seq=seq, prev=prev, body=body, hash=_hash(seq, prev, body))


def parse(line: str, position: int) -> Entry:
    """The entry that `Entry.line` wrote.

    Args:
        line: without its line break.
        position: where it stands, from 1.

    Raises:
        LedgerTampered: the line is not exactly such a line.
    """
    try:
        found = json.loads(line)
        entry = Entry(seq=found["seq"], prev=found["prev"], body=found["body"], hash=found["hash"])
        same = entry.line() == line
    except (ValueError, KeyError, TypeError) as error:
        raise _tampered(position, f"it is not an entry: {type(error).__name__}: {error}") from error
    if not same:
        raise _tampered(position, "its text is not in the form in which entries are written")
    return entry


def verify(entries: Iterable[Entry]) -> None:
    """Nothing happens where every entry follows from the one before.

    Raises:
        LedgerTampered: names the first entry that does not.
    """
    prev = GENESIS
    for position, entry in enumerate(entries, start=1):
        if entry.seq != position:
            raise _tampered(position, f"expected entry number {position}, got {entry.seq}")
        if entry.prev != prev:
            raise _tampered(position, f"it follows {entry.prev[:12]}, but the entry before is {prev[:12]}")
        actual = _hash(entry.seq, entry.prev, entry.body)
        if actual != entry.hash:
            raise _tampered(position, f"its content hashes to {actual[:12]}, but it says {entry.hash[:12]}")
        prev = entry.hash


def about(entries: Iterable[Entry], model_name: str) -> list[Entry]:
    """The entries about one registered model."""
    return [entry for entry in entries if entry.body["model_name"] == model_name]


def champions(entries: Iterable[Entry], model_name: str) -> tuple[int, ...]:
    """The stack of applied champions, the present one last: a promotion pushes, a rollback pops.

    Raises:
        LedgerTampered: an entry was applied without an accepted decision, or there was nothing to pop.
    """
    accepted: dict[str, Mapping[str, Any]] = {}
    stack: list[int] = []
    for entry in about(entries, model_name):
        body = entry.body
        if body["type"] == "decision":
            if body["accepted"]:
                accepted[entry.hash] = body
            continue
        decision = accepted.pop(body["decision"], None)
        if decision is None or (decision["candidate"], decision["kind"]) != (body["champion"], body["kind"]):
            raise _tampered(entry.seq, "it was applied without an accepted decision that says so")
        if body["kind"] == "promotion":
            stack.append(body["champion"])
        else:
            if stack[-2:-1] != [body["champion"]]:
                raise _tampered(
                    entry.seq, f"it rolls back to version {body['champion']}, which was not champion before"
                )
            stack.pop()
    return tuple(stack)


def pending(entries: Iterable[Entry], model_name: str) -> Entry | None:
    """The accepted decision whose application was interrupted, or None.

    Only the last entry about a model can be one, because a command completes what it finds pending first.
    """
    last = about(entries, model_name)[-1:]
    for entry in last:
        if entry.body["type"] == "decision" and entry.body["accepted"]:
            return entry
    return None


def _hash(seq: int, prev: str, body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({"seq": seq, "prev": prev, "body": body}).encode()).hexdigest()


def _tampered(position: int, fault: str) -> LedgerTampered:
    return LedgerTampered(
        f"The decision ledger was changed: entry {position} is the first that does not hold; {fault}.",
        next_step="Restore the ledger file from a copy, and ask who could write to it.",
        position=position,
        fault=fault,
    )
