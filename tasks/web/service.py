"""Runs an ASGI application until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from argparse import ArgumentParser, Namespace
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# A request's head may have so many bytes, and must arrive within so many seconds.
_HEAD_BYTES, _HEAD_S = 64_000, 20.0
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedHead(HttpToolsProtocol):
    """Uvicorn's protocol, which ends a connection whose request has a large head, or one that comes slowly.

    By itself it would keep all that a stranger sends in memory until the head ends.
    """

    _is_head, _head_bytes = True, 0
    _latest: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait."""
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request, unless its head has become too large."""
        super().data_received(data)
        if self._is_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """End a head."""
        self._is_head, self._head_bytes = False, 0
        self._end_wait()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._end_wait()
        self._is_head, self._head_bytes = True, 0
        self._latest = self.loop.call_later(_HEAD_S, self._close)

    def _end_wait(self) -> None:
        if self._latest is not None:
            self._latest.cancel()
            self._latest = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def add_address(parser: ArgumentParser) -> None:
    """Add the arguments that `run` reads."""
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)


def run(factory: str, chosen: Namespace, **further: Any) -> None:
    """Serve the application that the factory makes in each worker.

    Args:
        factory: such as "package.module:function".
        chosen: the arguments of `add_address`.
        further: of `uvicorn.run`.
    """
    # Each connection takes a descriptor, and the usual limit is low.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvicorn.run(
        factory,
        factory=True,
        host=chosen.host,
        port=chosen.port,
        workers=chosen.workers,
        loop="uvloop",
        http=BoundedHead,
        ws="none",
        # Each application writes its own line for a request.
        access_log=False,
        log_level="warning",
        server_header=False,
        **further,
    )
