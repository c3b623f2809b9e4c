"""What a job sends to MLflow: beside its training, timed, with one line when MLflow is away or refuses."""

from __future__ import annotations

from dataclasses import dataclass, field

from flows.terminal.progress import announce
from tasks.jobs.stopwatch import Stopwatch
from tasks.messages.outbox_messages import OutboxMessage
from tasks.tracking.background_sender import BackgroundSender
from tasks.tracking.descriptions import refused_line
from tasks.tracking.outbox_sender import OutboxSender


@dataclass
class Tracking:
    """Sends a job's messages beside the job. What the job waits for is counted on a clock.

    Attributes:
        job_id: the job's id.
        sender: sends the job's messages.
        background: lets the sender send beside the job.
    """

    job_id: str
    sender: OutboxSender
    background: BackgroundSender = field(init=False)
    _told_silence: bool = False
    _told_refusal: bool = False

    def __post_init__(self) -> None:
        self.background = BackgroundSender(self.sender)

    def send(self, message: OutboxMessage, clock: Stopwatch) -> None:
        """Let a message wait in the outbox, from which it is sent beside the job."""
        with clock.measure("tracking"):
            self.background.put(message)
        self._tell()

    def keep_pace(self, clock: Stopwatch) -> None:
        """Wait until few messages wait."""
        with clock.measure("tracking"):
            self.background.keep_pace()
        self._tell()

    def drain(self, clock: Stopwatch) -> None:
        """Wait until MLflow has received or refused all messages, or is unavailable."""
        with clock.measure("tracking"):
            self.background.drain()
        self._tell()

    def _tell(self) -> None:
        """Announce, once each, that messages wait for an unavailable MLflow or were refused."""
        silence = self.sender.silence
        if silence is not None and not self._told_silence:
            announce(f"MLflow is unavailable, and gets everything later. {silence}")
        self._told_silence = silence is not None
        if self.sender.refused and not self._told_refusal:
            announce(refused_line(self.job_id, self.sender.refused))
            self._told_refusal = True
