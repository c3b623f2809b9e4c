"""Who is champion, by the ledger of decisions: a promotion pushes onto a stack, a rollback pops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from models.ledger.chain import Entry, tampered

LEDGER = "decision ledger"


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
            raise tampered(LEDGER, entry.seq, "it was applied without an accepted decision that says so")
        if body["kind"] == "promotion":
            stack.append(body["champion"])
        else:
            if stack[-2:-1] != [body["champion"]]:
                fault = f"it rolls back to version {body['champion']}, which was not champion before"
                raise tampered(LEDGER, entry.seq, fault)
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
