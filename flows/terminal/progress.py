"""How a running flow tells whoever waits for it what it is doing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """Something that has just been done, or is about to be.

    Attributes:
        text: one line for people.
        round: rounds done; None where it is not about a round.
        rounds: rounds in all.
    """

    text: str
    round: int | None = None
    rounds: int | None = None


Listener = Callable[[Event], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Flows that run inside the block tell `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def announce(text: str, round_: int | None = None, rounds: int | None = None) -> None:
    """Whoever listens knows; nothing happens where nobody does."""
    listener = _listener.get()
    if listener is not None:
        listener(Event(text, round_, rounds))
