"""The record of an update that came after its round had gone on without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tasks.messages.record import Record


@dataclass(frozen=True, kw_only=True)
class LateUpdate(Record):
    """A silo's update that came too late. It is on record, and in no model.

    Attributes:
        round, client_id: which round went on without which silo.
        reason: in words.
        seconds_late: from the commit until the coordinator saw it, by its clock. The update came earlier.
        sha256: of the update.
        answer_sha256: of the signed answer that names it.
        seen_at: when, as ISO 8601 in UTC.
    """

    round: int
    client_id: str
    stage: Literal["late"] = "late"
    reason: str
    seconds_late: float
    sha256: str
    answer_sha256: str
    seen_at: str
