"""Servers that receive notifications: a webhook's and a mail server, on free ports of 127.0.0.1.

A pytest plugin: `webhook` and `mailbox` are running servers for one test.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.waiting import until


class Webhook(ThreadingHTTPServer):
    """A server that keeps the JSON of every request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.received: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def about(self, flow_run_id: Any) -> list[dict[str, Any]]:
        """Return what was told about a run."""
        return [each for each in self.received if each["flow_run_id"] == str(flow_run_id)]

    def told(self, flow_run_id: Any, seconds: float = 60.0) -> dict[str, Any]:
        """Wait for the first notification about a run, and return it."""
        found: dict[str, Any] = until(lambda: self.about(flow_run_id), seconds, what="a webhook")[0]
        return found


class _Post(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Write nothing to stderr."""


class Mailbox(socketserver.ThreadingTCPServer):
    """A mail server (SMTP) that keeps the text of every mail."""

    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.received: list[str] = []

    @property
    def address(self) -> str:
        """Return the Apprise address of a mail to ops@example.org by this server."""
        port = self.server_address[1]
        return f"mailto://127.0.0.1:{port}?from=fedrec@example.org&to=ops@example.org&mode=insecure"


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            command = line[:4].upper()
            if command == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.received.append(b"".join(lines).decode())  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")
            if command == b"QUIT":
                return


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        yield from _running(server)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as server:
        yield from _running(server)


def _running(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
