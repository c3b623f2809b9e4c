"""The messages from a job to MLflow, one type for each kind, and the JSON form in which they wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import JsonValue

from models.errors import CorruptArtifact
from tasks.messages.job_result import JobResult
from tasks.messages.record import JsonObject, Record
from tasks.messages.round_record import EvaluatedRound, TrackedRound

# What a user can do about a message that cannot be read.
NEXT_STEP = "Drop it with fedrec outbox drop. MLflow then lacks it, but the job's journal does not."

Table = Sequence[Mapping[str, JsonValue]]


@dataclass(frozen=True, kw_only=True)
class OpeningMessage(Record):
    """A job was opened.

    Attributes:
        config: the training configuration as JSON values.
    """

    kind: ClassVar[str] = "opening"

    config: Mapping[str, JsonValue]


@dataclass(frozen=True, kw_only=True)
class LineageMessage(Record):
    """The training data of a job were checked.

    Attributes:
        data: client id -> (SHA-256 of its data, their location).
    """

    kind: ClassVar[str] = "lineage"

    data: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class RoundMessage(Record):
    """A round was committed.

    Attributes:
        record: the round's record, with its evaluation.
        metrics: single numbers for MLflow's charts.
        note: the journal's note about the round, written when MLflow has it.
    """

    kind: ClassVar[str] = "round"

    record: EvaluatedRound
    metrics: Mapping[str, float]
    note: TrackedRound


@dataclass(frozen=True, kw_only=True)
class BreachMessage(Record):
    """A contract was broken, and its round failed.

    Attributes:
        round: number of the round.
        subject: the subject that broke the contract.
        text: the contract's outcome as JSON.
    """

    kind: ClassVar[str] = "breach"

    round: int
    subject: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ResultMessage(Record):
    """A job has a result.

    Attributes:
        result: the result.
        metrics: single numbers for MLflow's charts.
        tables: name of the artefact -> its rows.
        outcome: one sentence about the result.
    """

    kind: ClassVar[str] = "result"

    result: JobResult
    metrics: Mapping[str, float]
    tables: Mapping[str, Table]
    outcome: str = ""


@dataclass(frozen=True, kw_only=True)
class Refusal(Record):
    """Why a message was set aside.

    Attributes:
        what: the message in words, such as "round 3"; "unreadable" if it cannot be read.
        in_order: whether the messages after it may be sent only after it.
        reason: why MLflow does not have it, in one line.
        follows: number of the refused message that has to be sent before this one; None if this one itself
            was refused.
        refused_at: time, as ISO 8601 in UTC.
    """

    what: str
    in_order: bool
    reason: str
    follows: int | None = None
    refused_at: str


OutboxMessage = OpeningMessage | LineageMessage | RoundMessage | BreachMessage | ResultMessage
_KINDS: dict[str, type[OutboxMessage]] = {
    each.kind: each for each in (OpeningMessage, LineageMessage, RoundMessage, BreachMessage, ResultMessage)
}


def is_in_order(message: OutboxMessage) -> bool:
    """Return whether the message needs the ones before it, and the ones after it need it.

    A version reads the catalogue that the opening stores. Versions are numbered in the order of their rounds.
    The result names all versions. Lineage and breaches stand alone.
    """
    return isinstance(message, OpeningMessage | RoundMessage | ResultMessage)


def named(message: OutboxMessage) -> str:
    """Return a message in words, such as "round 3"."""
    match message:
        case RoundMessage():
            return f"round {message.record.round}"
        case BreachMessage():
            return f"breach in round {message.round}"
        case _:
            return message.kind


def message_to_json(message: OutboxMessage) -> JsonObject:
    """Return a message with its kind as JSON values."""
    return {"kind": message.kind, "content": message.to_json()}


def message_of_json(value: object, origin: str) -> OutboxMessage:
    """Return the message that `message_to_json` wrote.

    Args:
        value: the JSON values.
        origin: the file that holds them, for the error.

    Raises:
        CorruptArtifact: the kind or the format is unknown, or a part is missing or has another type.
    """
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(kind, str) or kind not in _KINDS:
        shown = repr(kind)[:80] if kind is None or isinstance(kind, str) else f"a {type(kind).__name__}"
        raise CorruptArtifact(
            f"{origin} is not a message for MLflow: its kind is {shown}, expected one of {sorted(_KINDS)}.",
            next_step=NEXT_STEP,
        )
    return _KINDS[kind].of_json(value.get("content"), origin, NEXT_STEP)
