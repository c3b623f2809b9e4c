"""What a coordinator keeps of a job's secure sums, so that it can continue a sum after a crash.

Everything here may be read by the coordinator: keys, sealed shares and masked vectors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.exchange.store import AppendedRef, ArtifactRef
from tasks.local.atomic import write_atomically
from tasks.messages.record import as_json_object
from tasks.messages.sum_orders import as_text, of_text


class SumJournal:
    """The notes about the sums of one job.

    Each sum has a key: its id, and for one of several groups the group.

    Args:
        folder: of the job.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "sums"

    def note_members(self, announcements: Mapping[str, bytes], identities: Mapping[str, bytes]) -> None:
        """Keep the members' announcements and identities."""
        parts = {"announcements": announcements, "identities": identities}
        self._write("members", {name: as_text(each) for name, each in parts.items()})

    def members(self) -> tuple[dict[str, bytes], dict[str, bytes]] | None:
        """Return what `note_members` kept; None if there is none."""
        found = self._read("members")
        return None if found is None else (of_text(found["announcements"]), of_text(found["identities"]))

    def note_prepared(self, key: str, members: tuple[str, ...], messages: Mapping[str, bytes]) -> None:
        """Keep who may take part in a sum, and the messages of those that prepared it."""
        self._write(f"{key}-prepared", {"members": members, "messages": as_text(messages)})

    def prepared(self, key: str) -> tuple[tuple[str, ...], dict[str, bytes]] | None:
        """Return what `note_prepared` kept; None if there is none."""
        found = self._read(f"{key}-prepared")
        return None if found is None else (tuple(found["members"]), of_text(found["messages"]))

    def has_prepared(self, key: str) -> bool:
        """Return whether `note_prepared` was called."""
        return self._file(f"{key}-prepared").exists()

    def note_begun(self, key: str) -> None:
        """Keep that members have been asked for their masked summands."""
        self._write(f"{key}-begun", True)

    def has_begun(self, key: str) -> bool:
        """Return whether `note_begun` was called."""
        return self._file(f"{key}-begun").exists()

    def note_masked(self, key: str, updates: Mapping[str, ArtifactRef | bytes]) -> None:
        """Keep the masked summands that are in a sum, or where they are, before members vote for them."""
        inline = {name: each for name, each in updates.items() if isinstance(each, bytes)}
        stored = {name: as_json_object(each) for name, each in updates.items() if not isinstance(each, bytes)}
        self._write(f"{key}-masked", {"messages": as_text(inline), "stored": stored})

    def masked(self, key: str) -> dict[str, ArtifactRef | bytes] | None:
        """Return what `note_masked` kept; None if there is none."""
        found = self._read(f"{key}-masked")
        if found is None:
            return None
        stored = {name: _ref_of(each) for name, each in found["stored"].items()}
        return {**stored, **of_text(found["messages"])}

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _write(self, name: str, value: object) -> None:
        write_atomically(self._file(name), json.dumps(value, sort_keys=True).encode())

    def _read(self, name: str) -> Any:
        try:
            return json.loads(self._file(name).read_bytes())
        except FileNotFoundError:
            return None


def _ref_of(values: Any) -> ArtifactRef:
    # Clients in groups that share a task append their summands to one file.
    return AppendedRef(**values) if "start" in values else ArtifactRef(**values)
