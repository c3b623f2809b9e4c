"""What a job has to tell MLflow, kept in the job's folder until MLflow has it.

A transactional outbox, as the pattern is called. Training needs no MLflow: every message is put here first
and sent from here in order (`tasks/tracking/outbox_sender.py`). While MLflow is away it waits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from models.errors import CorruptArtifact
from tasks.local.atomic import write_atomically
from tasks.messages.outbox_messages import NEXT_STEP, OutboxMessage, message_of_json, message_to_json

_ENTRY = "{:06d}.json"


@dataclass(frozen=True)
class Waiting:
    """One message that MLflow does not have yet.

    Attributes:
        path: where it waits.
        message: what to tell.
    """

    path: Path
    message: OutboxMessage


@dataclass(frozen=True)
class Outbox:
    """What waits in one folder, which need not exist yet."""

    folder: Path

    def put(self, message: OutboxMessage) -> None:
        """Add a message behind all that wait already."""
        number = max((int(path.stem) for path in self._paths()), default=0) + 1
        data = json.dumps(message_to_json(message), sort_keys=True).encode()
        # Derived from what is committed: what a power cut takes is evaluated again.
        write_atomically(self.folder / _ENTRY.format(number), data, durable=False)

    def waiting(self) -> list[Waiting]:
        """Return all that waits, the oldest first.

        Raises:
            CorruptArtifact: a message is damaged, or of a format that this version does not know.
        """
        return [Waiting(path, _read(path)) for path in self._paths()]

    def count(self) -> int:
        """Return the number of messages that wait."""
        return len(self._paths())

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"))


def _read(path: Path) -> OutboxMessage:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptArtifact(f"{path} is damaged: {error}.", next_step=NEXT_STEP) from error
    return message_of_json(value, str(path))
