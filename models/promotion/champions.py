"""The champions by the ledger of decisions: a stack that a promotion pushes to and a rollback pops from.

A registry can lose versions. Champions that no longer exist leave the stack at the next decision, which names
them; the ledger keeps the decisions about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.ledger.chain import Entry, tampered

LEDGER = "decision ledger"


@dataclass(frozen=True)
class Champion:
    """A version that a decision made champion.

    Attributes:
        version: its number in the registry. A registered model that was deleted and created again numbers its
            versions from 1, so the number alone does not identify a version.
        job_id, round: the job and round that made the version.
    """

    version: int
    job_id: str
    round: int


Stack = tuple[Champion, ...]


@dataclass(frozen=True)
class Standing:
    """The champions of a model that still exist.

    Attributes:
        stack: the stack according to the ledger, the current champion last.
        champion: the current champion; None if there is none, or if it is gone.
        before: the newest earlier champion that exists, to which a rollback returns.
        gone: the versions at the stack's end that no longer exist, the newest first. Earlier versions than
            `before` are not checked.
        repaired: sentences that say what was repaired to make the registry agree.
    """

    stack: Stack = ()
    champion: int | None = None
    before: int | None = None
    gone: tuple[int, ...] = ()
    repaired: tuple[str, ...] = field(default=(), compare=False)

    @property
    def lost(self) -> int | None:
        """Return the version of the current champion if it is gone."""
        return self.stack[-1].version if self.stack and self.champion is None else None

    def instead(self) -> str:
        """Return the words that say what a new champion replaces."""
        if self.champion is not None:
            return f"instead of version {self.champion}"
        return "as the first one" if self.lost is None else f"in place of version {self.lost}, which is gone"


def entries_about(entries: Iterable[Entry], model_name: str) -> list[Entry]:
    """Return the entries about one registered model."""
    return [entry for entry in entries if entry.body["model_name"] == model_name]


def champions(entries: Iterable[Entry], model_name: str) -> Stack:
    """Return the stack of applied champions, the current one last. Versions that are gone may be among them.

    Raises:
        LedgerTampered: an entry was applied without an accepted decision, or a rollback names a version that
            was not the champion before.
    """
    accepted: dict[str, Mapping[str, Any]] = {}
    stack: Stack = ()
    for entry in entries_about(entries, model_name):
        body = entry.body
        if body["type"] == "decision":
            if body["accepted"]:
                accepted[entry.hash] = body
            continue
        decision = accepted.pop(body["decision"], None)
        if decision is None or (decision["candidate"], decision["kind"]) != (body["champion"], body["kind"]):
            raise tampered(
                LEDGER, entry.seq, f"it was {body['type']} without an accepted decision that matches it"
            )
        if body["type"] == "abandoned":
            continue
        stack = after(stack, decision)
        if not stack or stack[-1].version != body["champion"]:
            fault = f"it rolls back to version {body['champion']}, which was not the champion before"
            raise tampered(LEDGER, entry.seq, fault)
    return stack


def all_champions(entries: Iterable[Entry], model_name: str) -> frozenset[Champion]:
    """Return every version that was ever made champion, also those to which no rollback returns any more."""
    about = entries_about(entries, model_name)
    applied = {entry.body["decision"] for entry in about if entry.body["type"] == "applied"}
    return frozenset(decided(entry.body) for entry in about if entry.hash in applied)


def after(stack: Stack, decision: Mapping[str, Any]) -> Stack:
    """Return the stack after an accepted decision is applied.

    Args:
        stack: the stack before.
        decision: body of the decision's entry. Its `gone` are versions that leave the stack.
    """
    gone = set(decision.get("gone", ()))
    left = [each for each in stack if each.version not in gone]
    if decision["kind"] == "promotion":
        new = decided(decision)
        return (*_without_last(left, new.version), new)
    return tuple(_without_last(left, stack[-1].version)) if stack else ()


def decided(decision: Mapping[str, Any]) -> Champion:
    """Return the version that a decision is about."""
    evidence = decision["evidence"]
    return Champion(decision["candidate"], evidence["job_id"], evidence["round"])


def standing(stack: Stack, exists: Callable[[Champion], bool]) -> Standing:
    """Return the champions that exist.

    Args:
        stack: from `champions`.
        exists: whether the registry still has a version. It is asked from the newest champion backwards,
            until one before the current champion exists.
    """
    gone: list[int] = []
    champion: int | None = None
    for place, each in enumerate(reversed(stack)):
        if each.version in gone or each.version == champion:
            continue
        if not exists(each):
            gone.append(each.version)
        elif place == 0:
            champion = each.version
        else:
            return Standing(stack, champion, each.version, tuple(gone))
    return Standing(stack, champion, None, tuple(gone))


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


def _without_last(stack: Sequence[Champion], version: int) -> Sequence[Champion]:
    """Return the stack without a version at its end. Where others have left it, it can be there twice."""
    end = len(stack)
    while end and stack[end - 1].version == version:
        end -= 1
    return stack[:end]
