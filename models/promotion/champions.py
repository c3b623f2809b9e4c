"""The champions by the ledger of decisions: a stack that a promotion pushes to and a rollback pops from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from models.ledger.chain import Entry, tampered

LEDGER = "decision ledger"


def entries_about(entries: Iterable[Entry], model_name: str) -> list[Entry]:
    """Return the entries about one registered model."""
    return [entry for entry in entries if entry.body["model_name"] == model_name]


def champions(entries: Iterable[Entry], model_name: str) -> tuple[int, ...]:
    """Return the stack of applied champions, the present one last.

    Raises:
        LedgerTampered: an entry was applied without an accepted decision, or a rollback names a version that
            was not the champion before.
    """
    accepted: dict[str, Mapping[str, Any]] = {}
    stack: list[int] = []
    for entry in entries_about(entries, model_name):
        body = entry.body
        if body["type"] == "decision":
            if body["accepted"]:
                accepted[entry.hash] = body
            continue
        decision = accepted.pop(body["decision"], None)
        if decision is None or (decision["candidate"], decision["kind"]) != (body["champion"], body["kind"]):
            raise tampered(LEDGER, entry.seq, "it was applied without an accepted decision that matches it")
        if body["kind"] == "promotion":
            stack.append(body["champion"])
        else:
            if stack[-2:-1] != [body["champion"]]:
                fault = f"it rolls back to version {body['champion']}, which was not the champion before"
                raise tampered(LEDGER, entry.seq, fault)
            stack.pop()
    return tuple(stack)


def pending(entries: Iterable[Entry], model_name: str) -> Entry | None:
    """Return the accepted decision whose application was interrupted, or None.

    Only the last entry about a model can be pending, because every command first completes a pending
    decision.
    """
    last = entries_about(entries, model_name)[-1:]
    for entry in last:
        if entry.body["type"] == "decision" and entry.body["accepted"]:
            return entry
    return None
