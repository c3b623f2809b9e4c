"""What a job has to tell MLflow, kept in the job's folder until MLflow has it.

A transactional outbox, as the pattern is called. Training needs no MLflow: whatever shall stand there is put
here first and sent from here in order (`tasks/tracking/outbox_sender.py`), and while MLflow is away it waits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.local.atomic import write_atomically

_ENTRY = "{:06d}.json"


@dataclass(frozen=True)
class Message:
    """One thing to tell MLflow.

    Attributes:
        path: where it waits.
        kind: which call of the tracker it is.
        content: what that call is about.
    """

    path: Path
    kind: str
    content: dict[str, Any]


@dataclass(frozen=True)
class Outbox:
    """What waits in one folder, which need not exist yet."""

    folder: Path

    def put(self, kind: str, content: Mapping[str, Any]) -> None:
        """It waits, after all that waits already."""
        number = max((int(path.stem) for path in self._paths()), default=0) + 1
        data = json.dumps({"kind": kind, "content": content}, sort_keys=True).encode()
        # Derived from what is committed: what a power cut takes is evaluated again.
        write_atomically(self.folder / _ENTRY.format(number), data, durable=False)

    def waiting(self) -> list[Message]:
        """All that waits, the oldest first."""
        return [Message(path, **json.loads(path.read_bytes())) for path in self._paths()]

    def kinds(self) -> Iterator[str]:
        """The kinds of what waits."""
        return (message.kind for message in self.waiting())

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"))
