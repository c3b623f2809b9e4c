"""Calls of Prefect's API that outlast a restart of its server.

Prefect's clients try again by themselves, but only once they have been connected; a fresh one fails at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

AWAY_S = 120.0
AGAIN_S = 0.5

T = TypeVar("T")


def patiently(call: Callable[[], T], away_s: float = AWAY_S) -> T:
    """What the call returns; it is made again while Prefect's server does not answer.

    Args:
        call: makes its own client, and may be made twice: its answer can be lost.
        away_s: seconds after which the server counts as gone.

    Raises:
        httpx.TransportError: it was away for longer.
    """
    give_up = time.monotonic() + away_s
    while True:
        try:
            return call()
        except httpx.TransportError:
            if time.monotonic() >= give_up:
                raise
            time.sleep(AGAIN_S)


def is_away(error: httpx.TransportError | httpx.HTTPStatusError) -> bool:
    """Whether Prefect's server is away or too busy, so that asking again may help."""
    if isinstance(error, httpx.TransportError):
        return True
    # A SQLite database that is locked is a 503.
    return error.response.status_code >= 500 or error.response.status_code in {408, 429}  # noqa: PLR2004
