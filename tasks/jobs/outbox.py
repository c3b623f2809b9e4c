"""The messages of a job to MLflow, stored in the job's folder until MLflow has received them.

This is the transactional outbox pattern. Every message is stored here first and sent from here in order
(`tasks/tracking/outbox_sender.py`). While MLflow is unavailable, messages wait and training continues.
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
    """One message that MLflow has not received yet.

    Attributes:
        path: file of the message.
        message: the message.
    """

    path: Path
    message: OutboxMessage


@dataclass(frozen=True)
class Outbox:
    """The waiting messages in one folder, which need not exist yet."""

    folder: Path

    def put(self, message: OutboxMessage) -> None:
        """Append a message to the waiting ones."""
        number = max((int(path.stem) for path in self._paths()), default=0) + 1
        data = json.dumps(message_to_json(message), sort_keys=True).encode()
        # Not durable: a message that a power cut destroys is derived again from the committed round.
        write_atomically(self.folder / _ENTRY.format(number), data, durable=False)

    def waiting(self) -> list[Waiting]:
        """Return the waiting messages, oldest first.

        Raises:
            CorruptArtifact: a message is damaged, or its format is unknown to this version.
        """
        return [Waiting(path, _read(path)) for path in self._paths()]

    def count(self) -> int:
        """Return the number of waiting messages."""
        return len(self._paths())

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"))


def _read(path: Path) -> OutboxMessage:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptArtifact(f"{path} is damaged: {error}.", next_step=NEXT_STEP) from error
    return message_of_json(value, str(path))
