"""A service ends connections whose request has a large head, or one that comes slowly."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.server_process import ServerProcess, without

RUN = """
from argparse import ArgumentParser
from tasks.web import service

service._HEAD_S = 2.0
parser = ArgumentParser()
service.add_address(parser)
service.run("answering:make", parser.parse_args(), timeout_keep_alive=30, app_dir=FOLDER)
""".replace("FOLDER", repr(str(Path(__file__).parent)))


@dataclass
class Answering(ServerProcess):
    """A service that answers each request with the length of its body."""

    health = "/"

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", RUN, "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]

    @property
    def environment(self) -> dict[str, str]:
        return without("FEDREC_GATEWAY")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answering]:
    found = Answering(tmp_path_factory.mktemp("service"))
    found.start()
    yield found
    found.stop()


def told(server: Answering, *sent: bytes) -> bytes:
    """Return all that comes back until the service closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.settimeout(20)
        try:
            for each in sent:
                connection.sendall(each)
            found = b""
            while piece := connection.recv(65536):
                found += piece
        except (ConnectionResetError, BrokenPipeError):
            return b"reset"
        return found


def test_a_head_of_usual_size_is_answered(server: Answering) -> None:
    body = b"x" * 1_000_000
    head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: " + b"y" * 10_000 + b"\r\n"
    found = told(server, head + b"content-length: 1000000\r\n\r\n", body)
    assert found.startswith(b"HTTP/1.1 200") and found.endswith(b"1000000")


def test_a_large_head_ends_the_connection(server: Answering) -> None:
    lines = [b"x-%d: " % number + b"y" * 1000 + b"\r\n" for number in range(1000)]
    found = told(server, b"GET / HTTP/1.1\r\nhost: x\r\n", *lines)
    assert found == b"reset" or found.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost:"])
def test_a_head_that_does_not_come_ends_the_connection(server: Answering, sent: bytes) -> None:
    assert told(server, sent) == b""


def test_a_second_request_of_a_connection_has_a_time_of_its_own(server: Answering, tmp_path: Path) -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    assert told(server, request, last).count(b"HTTP/1.1 200") == 2
