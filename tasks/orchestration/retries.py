"""Calls of Prefect's API that outlast a restart of its server.

Prefect's clients retry only after a first successful connection; a new client fails at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

import httpx

AWAY_S = 120.0
_PAUSE_S = 0.5

T = TypeVar("T")


def retry_while_away(call: Callable[[], T], away_s: float = AWAY_S) -> T:
    """Return the result of the call, repeating it while Prefect's server does not answer.

    Args:
        call: makes its own client. It may run twice, because its response can be lost.
        away_s: seconds after which the server counts as gone.

    Raises:
        httpx.TransportError: the server was away for longer.
    """
    deadline = time.monotonic() + away_s
    while True:
        try:
            return call()
        except httpx.TransportError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_S)


async def retry_while_away_async(call: Callable[[], Awaitable[T]], away_s: float = AWAY_S) -> T:
    """Return the result of the call as `retry_while_away` does, and repeat it while the server is busy.

    Args:
        call: may run twice. Its client should not retry by itself (PREFECT_CLIENT_MAX_RETRIES=0), because
            Prefect retries after 2, 4, 8, 16 and 32 s.
        away_s: seconds after which the server counts as gone.

    Raises:
        httpx.TransportError: the server was away for longer.
        httpx.HTTPStatusError: the server refuses the call.
    """
    deadline = time.monotonic() + away_s
    while True:
        try:
            return await call()
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            is_gone = isinstance(error, httpx.TransportError) and time.monotonic() >= deadline
            if is_gone or not _may_pass(error):
                raise
        await asyncio.sleep(_PAUSE_S)


def _may_pass(error: httpx.TransportError | httpx.HTTPStatusError) -> bool:
    if isinstance(error, httpx.TransportError):
        return True
    # Prefect answers 503 while its SQLite database is locked.
    status = error.response.status_code
    return status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or status >= 500  # noqa: PLR2004
