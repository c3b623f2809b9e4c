"""Clients' steps in threads that share their queues, so that a client that hangs holds up no other."""

from __future__ import annotations

import contextvars
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import Event, Lock, Thread
from typing import Any

from models.errors import SiloFailed
from tasks.clients.retries import RETRIES, RETRY_DELAY_S, is_transient
from tasks.messages.orders import ClientOrder

# The share of the deadline after which another thread takes the place of one whose client has not ended.
_PATIENCE = 0.25
_LOOKS = 4
# Clients of this many seconds are mostly Python, of which a process runs one thread at a time. More threads
# would only take turns.
_QUICK_S = 2 * sys.getswitchinterval()
_FIRST_LOOK_S = 0.1


class Unanswered:
    """A client that has not answered by the deadline.

    Args:
        reason: for people; the text of this object.
        ended: set when the client no longer works; None if it has not begun.
    """

    def __init__(self, reason: str, ended: Event | None) -> None:
        self._reason, self._ended = reason, ended

    def __str__(self) -> str:
        return self._reason

    @property
    def has_begun(self) -> bool:
        """Whether the client has begun."""
        return self._ended is not None

    @property
    def is_at_work(self) -> bool:
        """Whether the client still works."""
        return self._ended is not None and not self._ended.is_set()


class SharedWork:
    """The orders of several groups of clients, and the answers that have come.

    Each group has threads of its own, which serve its clients one after another, and then those of other
    groups. As long as clients are quick, one thread serves them all. No client begins after the deadline.

    Args:
        groups: the orders of each group.
        do: returns a client's answer to its order.
        deadline_s: seconds from now.
        quick_s: mean seconds of a client up to which further threads would be of no use.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[ClientOrder]],
        do: Callable[[ClientOrder], Any],
        deadline_s: float,
        quick_s: float = _QUICK_S,
    ) -> None:
        self._do = do
        self._deadline_s = deadline_s
        self._deadline = time.monotonic() + deadline_s
        self._began: float | None = None
        self._quick_s = quick_s
        self._patience_s = _PATIENCE * deadline_s
        self._waiting = [deque(group) for group in groups]
        self._missing = [len(group) for group in groups]
        self._complete = [Event() for _ in groups]
        self._group_of = {order.client_id: number for number, group in enumerate(groups) for order in group}
        self._at_work: dict[str, Event] = {}
        self._answers: dict[str, Any] = {}
        self._closed = False
        self._lock = Lock()

    @property
    def remaining_s(self) -> float:
        """Return the seconds until the deadline, at least 0."""
        return max(0.0, self._deadline - time.monotonic())

    def serve(self, group: int, threads: int) -> None:
        """Do the group's work until all its clients have answered, or until the deadline."""
        # The first group's thread also serves the others.
        workers = [] if group else [_Worker(self, group)]
        while not self._complete[group].wait(self._seconds_to_next_look(len(workers) < threads)):
            if not self.remaining_s:
                return
            if not self._is_quick:
                workers += [_Worker(self, group) for _ in range(threads - len(workers))]
            for stuck in [each for each in workers if each.at_work_s > self._patience_s]:
                stuck.is_replaced = True
                workers.remove(stuck)
                workers.append(_Worker(self, group))

    @property
    def _is_quick(self) -> bool:
        """Whether the clients that one thread served were quick, and the next one still may be."""
        served_s = 0.0 if self._began is None else time.monotonic() - self._began
        return served_s < self._quick_s * (len(self._answers) + 1)

    def _seconds_to_next_look(self, may_grow: bool) -> float:
        return min(self.remaining_s, self._patience_s / _LOOKS, _FIRST_LOOK_S if may_grow else math.inf)

    def close(self) -> None:
        """Let no other client begin, and let no later answer count."""
        with self._lock:
            self._closed = True

    def answers(self, client_ids: Iterable[str]) -> dict[str, Any]:
        """Return each client's answer so far, the error that it failed with, or an `Unanswered`."""
        with self._lock:
            return {
                client_id: self._answers[client_id]
                if client_id in self._answers
                else self._unanswered_by(client_id)
                for client_id in client_ids
            }

    def _unanswered_by(self, client_id: str) -> Unanswered:
        ended = self._at_work.get(client_id)
        what = "not begun" if ended is None else "no answer"
        return Unanswered(f"{what} within {self._deadline_s:g} s", ended)

    def take(self, group: int) -> ClientOrder | None:
        """Return an order that nobody has begun, of this group first; None if there is none in time."""
        with self._lock:
            if self._closed or not self.remaining_s:
                return None
            # From the end of another group's queue, whose own threads take from its beginning.
            own, longest = self._waiting[group], max(self._waiting, key=len)
            if not own and not longest:
                return None
            order = own.popleft() if own else longest.pop()
            self._began = self._began or time.monotonic()
            self._at_work[order.client_id] = Event()
            return order

    def answer(self, order: ClientOrder) -> None:
        """Do an order, and keep the client's answer unless the deadline has passed."""
        answer = _tried(self._do, order, self._deadline)
        client_id = order.client_id
        group = self._group_of[client_id]
        with self._lock:
            self._at_work[client_id].set()
            if not self._closed:
                self._answers[client_id] = answer
                self._missing[group] -= 1
                if not self._missing[group]:
                    self._complete[group].set()


def answers_here(
    orders: Sequence[ClientOrder], do: Callable[[ClientOrder], Any], deadline_s: float, threads: int
) -> dict[str, Any]:
    """Return each client's answer, error or `Unanswered`, of one group that this process serves.

    Args:
        orders: the group's orders.
        do: returns a client's answer to its order.
        deadline_s: seconds from now.
        threads: number of clients that are served at once.
    """
    if not orders:
        return {}
    work = SharedWork([orders], do, deadline_s)
    work.serve(0, threads)
    work.close()
    return work.answers(order.client_id for order in orders)


class _Worker:
    """A thread that serves clients. The process ends without waiting for it."""

    def __init__(self, work: SharedWork, group: int) -> None:
        self._work, self._group = work, group
        self._began: float | None = None
        self.is_replaced = False
        # What the clients log belongs to the run that started the thread.
        context = contextvars.copy_context()
        Thread(target=context.run, args=(self._run,), name=f"clients-{group}", daemon=True).start()

    @property
    def at_work_s(self) -> float:
        """Return for how long it has served its current client."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def _run(self) -> None:
        while not self.is_replaced and (order := self._work.take(self._group)) is not None:
            self._began = time.monotonic()
            self._work.answer(order)
            self._began = None


def _tried(do: Callable[[ClientOrder], Any], order: ClientOrder, deadline: float) -> Any:
    """Return the client's answer, or the error of its last attempt."""
    retries = RETRIES
    while True:
        try:
            return do(order)
        except Exception as error:  # noqa: BLE001 - it is the client's answer
            if not (retries and is_transient(error) and time.monotonic() + RETRY_DELAY_S < deadline):
                return error
        except BaseException as error:  # noqa: BLE001 - such as a panic in a library written in Rust
            return SiloFailed(f"Client {order.client_id!r} ended with {type(error).__name__}: {error}")
        retries -= 1
        time.sleep(RETRY_DELAY_S)
