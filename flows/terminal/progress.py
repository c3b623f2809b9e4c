"""Progress events, which a running flow sends to a listener and to Prefect's log of the run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from tasks.orchestration.logs import write_run_log


@dataclass(frozen=True)
class Event:
    """A step that has just finished or is about to begin.

    Attributes:
        text: one line for people.
        round: number of finished rounds; None if the event is not about a round.
        rounds: total number of rounds.
    """

    text: str
    round: int | None = None
    rounds: int | None = None


Listener = Callable[[Event], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the events of flows inside the block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def announce(text: str, round_: int | None = None, rounds: int | None = None) -> None:
    """Send an event to the listener, if there is one, and write it to the log of the current flow run."""
    write_run_log(text if round_ is None else f"Round {round_}/{rounds}: {text}")
    listener = _listener.get()
    if listener is not None:
        listener(Event(text, round_, rounds))
