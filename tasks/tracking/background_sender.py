"""Sends a job's outbox to MLflow beside its training, in one thread of the job's process.

A message is written to the outbox before its round counts as told, so a crash loses none. Only the thread
speaks to MLflow, so messages keep their order. The training waits for it once too many messages wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tasks.messages.outbox_messages import OutboxMessage
from tasks.tracking.outbox_sender import OutboxSender

# Number of messages that may wait before the training waits for them.
MOST_WAITING = 8


class BackgroundSender:
    """Sends what waits in a job's outbox while the block runs, and again at each new message.

    An error that ends the job, such as a full disk or a lost lease, ends the thread. It is raised by the next
    call. At the end of the block the thread sends what still waits, unless it must not or MLflow is
    unavailable; the outbox keeps the rest.

    Args:
        sender: of the job. Only the thread sends while the block runs.
        most_waiting: number of messages that may wait before `keep_pace` waits for them.
    """

    def __init__(self, sender: OutboxSender, most_waiting: int = MOST_WAITING) -> None:
        self._sender = sender
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        # Numbers of requests to send, and of those that were tried.
        self._asked = 1
        self._tried = 0
        self._is_ending = False
        # Messages that a power cut may destroy.
        self._volatile = sender.outbox.waiting()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._send_on, name="BackgroundSender", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_ending = True
            # A block that was interrupted may have stored a message without asking for it to be sent.
            self._asked += self._sender.silence is None
            self._changed.notify_all()
        self._thread.join()
        # The error that ends the block says more.
        if error is None:
            self._raise_error()

    def put(self, message: OutboxMessage) -> None:
        """Store a message in the outbox, and let the thread send it.

        Raises:
            LeaseLost: another process has taken the job over.
            OSError: the disk is full.
        """
        self._raise_error()
        self._volatile.append(self._sender.put(message))
        with self._changed:
            self._asked += 1
            self._changed.notify_all()

    def keep_pace(self) -> None:
        """Wait until few messages wait. Return at once while MLflow is unavailable.

        Raises:
            LeaseLost, OSError: as `put`.
        """
        self._wait(
            lambda: self._sender.silence is not None or self._sender.outbox.count() <= self._most_waiting
        )

    def make_durable(self) -> None:
        """Let all messages so far survive a power cut, if MLflow does not have them yet.

        Call this before a round is committed: only the newest round's message is derived again if it is lost.
        """
        waiting, self._volatile = [each for each in self._volatile if each.path.exists()], []
        if waiting:
            self._sender.outbox.make_durable(waiting)

    def drain(self) -> None:
        """Wait until MLflow has received all messages so far, has refused them, or is unavailable.

        Raises:
            LeaseLost, OSError: as `put`.
        """
        goal = self._asked
        self._wait(lambda: self._tried >= goal)

    def _wait(self, is_enough: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or is_enough())
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _send_on(self) -> None:
        while (goal := self._next_goal()) is not None:
            try:
                self._sender.send_waiting(self._note_progress)
            except BaseException as error:  # noqa: BLE001 - raised by the next call of the job's own thread
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._tried = goal
                self._changed.notify_all()

    def _next_goal(self) -> int | None:
        """Wait for a request that was not tried, and return the newest; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_ending or self._asked > self._tried)
            return self._asked if self._asked > self._tried else None

    def _note_progress(self) -> None:
        with self._changed:
            self._changed.notify_all()
