"""The messages of a job to MLflow, stored in the job's folder until MLflow has received them.

This is the transactional outbox pattern. Every message is stored here first and sent from here in order
(`tasks/tracking/outbox_sender.py`). While MLflow is unavailable, messages wait and training continues. A
message that MLflow refuses is set aside with the reason, as in a dead letter queue, so that it stops neither
its job nor other jobs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from models.errors import CorruptArtifact, FedrecError, NotFound
from models.kernel.json_values import read_json
from tasks.jobs.journal import Journal
from tasks.local.atomic import sync_file, sync_folder, write_atomically
from tasks.local.home import Home
from tasks.messages.outbox_messages import (
    NEXT_STEP,
    OutboxMessage,
    Refusal,
    RoundMessage,
    message_of_json,
    message_to_json,
)
from tasks.messages.round_record import TrackedRound

_ENTRY = "{:06d}.json"
# What stands for a reason that is missing or damaged.
_UNKNOWN = Refusal(what="unknown", in_order=True, reason="The reason cannot be read", refused_at="")


@dataclass(frozen=True)
class Waiting:
    """A message in its file.

    Attributes:
        path: the file. Its name is the message's number in the order of the job's messages.
    """

    path: Path

    @property
    def number(self) -> int:
        """Return the message's number."""
        return int(self.path.stem)

    @property
    def message(self) -> OutboxMessage:
        """Read the message.

        Raises:
            CorruptArtifact: it is damaged, or its format is unknown to this version.
        """
        try:
            value = read_json(self.path.read_bytes())
        except ValueError as error:
            raise CorruptArtifact(f"{self.path} is damaged: {error}.", next_step=NEXT_STEP) from error
        return message_of_json(value, str(self.path))

    def message_if_readable(self) -> OutboxMessage | None:
        """Return the message; None if it is damaged."""
        try:
            return self.message
        except (FedrecError, OSError):
            return None


@dataclass(frozen=True)
class Refused(Waiting):
    """A message that was set aside, because MLflow refused it or one that it needs."""

    @property
    def refusal(self) -> Refusal:
        """Return why the message was set aside."""
        try:
            return Refusal.of_json(read_json(_reason_of(self.path).read_bytes()), str(self.path))
        except (ValueError, FedrecError, OSError):
            return _UNKNOWN


@dataclass(frozen=True)
class Outbox:
    """The messages in one folder, which need not exist yet. Those set aside are in its folder `refused`."""

    folder: Path

    @property
    def refused_folder(self) -> Path:
        """Return the folder of the messages that were set aside."""
        return self.folder / "refused"

    def put(self, message: OutboxMessage, *, first: bool = False) -> Waiting:
        """Append a message to the waiting ones, or put it before all others; return it."""
        taken = [*_numbered(self.folder), *_numbered(self.refused_folder)]
        number = 0 if first else max((int(path.stem) for path in taken), default=0) + 1
        data = json.dumps(message_to_json(message), sort_keys=True, allow_nan=False).encode()
        # Not durable: most messages are gone within milliseconds. See `make_durable`.
        entry = Waiting(self.folder / _ENTRY.format(number))
        write_atomically(entry.path, data, durable=False)
        return entry

    def make_durable(self, entries: Iterable[Waiting]) -> None:
        """Let those of these messages that still wait survive a power cut."""
        with contextlib.suppress(FileNotFoundError):
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    sync_file(entry.path)
            sync_folder(self.folder)

    def waiting(self) -> list[Waiting]:
        """Return the waiting messages, oldest first."""
        return [Waiting(path) for path in _numbered(self.folder) if path.is_file()]

    def refused(self) -> list[Refused]:
        """Return the messages that were set aside, oldest first."""
        return [Refused(path) for path in _numbered(self.refused_folder) if path.is_file()]

    def all(self) -> list[Waiting]:
        """Return all messages that MLflow does not have, oldest first."""
        return sorted([*self.waiting(), *self.refused()], key=lambda each: each.number)

    def count(self) -> int:
        """Return the number of waiting messages."""
        return len(self.waiting())

    def set_aside(self, entry: Waiting, refusal: Refusal) -> None:
        """Set a waiting message aside. Its file is kept, and the reason is stored beside it."""
        target = self.refused_folder / entry.path.name
        # The reason comes first. After a crash in between, the message still waits and is sent again.
        write_atomically(_reason_of(target), json.dumps(refusal.to_json(), indent=1).encode(), durable=False)
        entry.path.replace(target)

    def put_back(self) -> int:
        """Let all messages that were set aside wait again, in their old order; return their number."""
        refused = self.refused()
        for each in refused:
            each.path.replace(self.folder / each.path.name)
            _reason_of(each.path).unlink(missing_ok=True)
        return len(refused)


@dataclass(frozen=True)
class JobOutbox:
    """A job some of whose messages MLflow does not have.

    Attributes:
        journal: the job.
        outbox: its messages.
    """

    journal: Journal
    outbox: Outbox


def outbox_of(journal: Journal) -> Outbox:
    """Return the job's outbox."""
    return Outbox(journal.folder / "outbox")


def note_of(journal: Journal, round_: int) -> TrackedRound | None:
    """Return the note about a committed round, sent or still waiting; None if there is none.

    Raises:
        CorruptArtifact: it is damaged.
    """
    tracked = journal.tracked(round_)
    if tracked is not None:
        return tracked
    for each in outbox_of(journal).all():
        message = each.message_if_readable()
        if isinstance(message, RoundMessage) and message.record.round == round_:
            return message.note
    # Another thread may have sent it meanwhile, and noted it before it left the outbox.
    return journal.tracked(round_)


def outboxes(home: Home) -> list[JobOutbox]:
    """Return the jobs of which MLflow does not have all messages, sorted by id."""
    journals = [Journal(path.parent) for path in sorted(home.jobs.glob("*/outbox"))]
    found = [JobOutbox(journal, outbox_of(journal)) for journal in journals]
    return [each for each in found if each.outbox.all()]


def drop_refused(journal: Journal, numbers: Collection[int] = ()) -> dict[int, Refusal]:
    """Delete messages that were set aside, and return them by number. MLflow will never have them.

    Args:
        journal: of their job, held by this process.
        numbers: the messages' numbers; all by default.

    Raises:
        NotFound: a message with such a number was not set aside.
    """
    refused = outbox_of(journal).refused()
    unknown = sorted(set(numbers) - {each.number for each in refused})
    if unknown or not refused:
        which = f"record {unknown[0]}" if unknown else "record"
        raise NotFound(
            f"MLflow refused no {which} of job {journal.job_id}.",
            next_step="fedrec outbox list shows the refused ones.",
            job_id=journal.job_id,
        )
    dropped = {}
    with journal.guarded():
        for each in refused:
            if numbers and each.number not in numbers:
                continue
            dropped[each.number] = each.refusal
            message = each.message_if_readable()
            if isinstance(message, RoundMessage):
                # Otherwise the round's model would be kept for MLflow.
                journal.note_tracked(message.record.round, message.note)
            each.path.unlink()
            _reason_of(each.path).unlink(missing_ok=True)
    return dropped


def _numbered(folder: Path) -> list[Path]:
    """Return what has the name of a message, in order. A folder of such a name is none."""
    found = [path for path in folder.glob("[0-9]*.json") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


def _reason_of(path: Path) -> Path:
    return path.with_suffix(".reason")
