"""Notes what silos did: for people, and in the access record for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.gateway.api.admission import Caller
from tasks.gateway.api.grouped import Grouped
from tasks.gateway.visits import Visits
from tasks.local.chained_file import ChainedFile


@dataclass(frozen=True)
class _Note:
    """What a silo did at a time."""

    at: str
    caller: Caller
    did: str
    facts: Mapping[str, Any]

    @property
    def entry(self) -> dict[str, Any]:
        caller = self.caller
        return {"at": self.at, "silo": caller.silo, "key_id": caller.key_id, "did": self.did, **self.facts}


class Notes:
    """The notes of one process.

    Args:
        visits: keeps what each silo did last.
        record: the access record.
    """

    def __init__(self, visits: Visits, record: ChainedFile) -> None:
        self._visits, self._record = visits, record
        self._keep = Grouped(self._keep_all)

    async def add(self, caller: Caller, did: str, **facts: Any) -> None:
        """Note what a silo did and, if there are facts, record it for good."""
        await self._keep(_Note(datetime.now(UTC).isoformat(timespec="milliseconds"), caller, did, facts))

    def _keep_all(self, notes: Sequence[_Note]) -> Sequence[None]:
        self._visits.note({each.caller.silo: each.did for each in notes})
        entries = [each.entry for each in notes if each.facts]
        if entries:
            with self._record.locked():
                self._record.append_all(entries, durable=False)
        return [None] * len(notes)
