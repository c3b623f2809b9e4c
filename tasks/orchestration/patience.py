"""Calls of Prefect's API that outlast a restart of its server.

Prefect's clients try again by themselves, but only once they have been connected; a fresh one fails at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

import httpx

AWAY_S = 120.0
_AGAIN_S = 0.5

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
            time.sleep(_AGAIN_S)


async def patiently_awaited(call: Callable[[], Awaitable[T]], away_s: float = AWAY_S) -> T:
    """What the call returns, as `patiently`; a server that is there but too busy is asked without end.

    Args:
        call: may be made twice. Its client had best not try again by itself (PREFECT_CLIENT_MAX_RETRIES=0):
            Prefect's tries come after 2, 4, 8, 16 and 32 s.
        away_s: seconds after which the server counts as gone.

    Raises:
        httpx.TransportError: it was away for longer.
        httpx.HTTPStatusError: it refuses.
    """
    give_up = time.monotonic() + away_s
    while True:
        try:
            return await call()
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            is_gone = isinstance(error, httpx.TransportError) and time.monotonic() >= give_up
            if is_gone or not _may_pass(error):
                raise
        await asyncio.sleep(_AGAIN_S)


def _may_pass(error: httpx.TransportError | httpx.HTTPStatusError) -> bool:
    if isinstance(error, httpx.TransportError):
        return True
    # Prefect says 503 where its SQLite database is locked.
    status = error.response.status_code
    return status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or status >= 500  # noqa: PLR2004
