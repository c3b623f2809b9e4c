"""Waiting for a server that is away for some time, and not forever."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from tasks.orchestration.retries import retry_while_away
from tests.servers.free_port import free_port


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_a_server_that_comes_back_is_waited_for() -> None:
    port = free_port()

    def serve() -> None:
        time.sleep(1)
        with HTTPServer(("127.0.0.1", port), Answering) as server:
            server.handle_request()

    thread = threading.Thread(target=serve)
    thread.start()
    assert retry_while_away(lambda: httpx.get(f"http://127.0.0.1:{port}"), 30).status_code == 200
    thread.join()


def test_a_server_that_does_not_come_back_is_given_up() -> None:
    port = free_port()
    with pytest.raises(httpx.ConnectError):
        retry_while_away(lambda: httpx.get(f"http://127.0.0.1:{port}"), 0.6)
