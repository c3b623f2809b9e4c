"""The record of an update that came after its round was committed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tasks.messages.record import Record


@dataclass(frozen=True, kw_only=True)
class LateUpdate(Record):
    """A silo's update that came after its round was committed. It is recorded, and is in no model.

    Attributes:
        round, client_id: the round and the silo.
        reason: why the update is late, in words.
        seconds_late: seconds between the commit and the moment when the coordinator saw the update, by the
            coordinator's clock. The update itself came earlier.
        sha256: SHA-256 of the update.
        answer_sha256: SHA-256 of the signed answer that names it.
        seen_at: when the coordinator saw it, as ISO 8601 in UTC.
    """

    round: int
    client_id: str
    stage: Literal["late"] = "late"
    reason: str
    seconds_late: float
    sha256: str
    answer_sha256: str
    seen_at: str
