"""Uploads that are cut off, endless, slow, or larger than told leave nothing behind."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from tests.tasks.gateway.conftest import JOB, ROUND, Door, sha256_of

UPDATE = b"u" * 900


def head(door: Door, *, length: str | None) -> bytes:
    """Return the head of a signed upload of `UPDATE`, with this Content-Length."""
    target = f"/v1/orders/{door.ids['ash']}/updates/{sha256_of(UPDATE)}"
    request = door.signed("PUT", target, UPDATE)
    names = ("signature", "signature-input", "content-digest")
    lines = [f"PUT {target} HTTP/1.1", "host: x", *(f"{name}: {request.headers[name]}" for name in names)]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def talk(door: Door, *pieces: bytes, pause_s: float = 0.0, wait: bool = True) -> bytes:
    """Send the pieces, and return what the gateway answers until it closes the connection, or 3 s."""
    with socket.create_connection(("127.0.0.1", door.server.port), timeout=3) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
            time.sleep(pause_s)
        found = b""
        while wait:
            try:
                more = connection.recv(65536)
            except OSError:
                break
            if not more:
                break
            found += more
            if b"}" in found:
                break
        return found


def test_an_upload_that_is_cut_off_is_none(door: Door) -> None:
    before = door.facts()
    talk(door, head(door, length="900"), UPDATE[:100], wait=False)
    time.sleep(0.5)
    assert door.facts() == before
    door.client("ash").send_update(door.ids["ash"], UPDATE)


def test_an_upload_that_falls_silent_is_ended(door: Door) -> None:
    before = door.facts()
    assert b" 408 " in talk(door, head(door, length="900"), UPDATE[:100])
    assert door.facts() == before


def test_an_upload_in_drops_is_ended(door: Door) -> None:
    before = door.facts()
    drops = [bytes([each]) for each in UPDATE[:30]]
    assert b" 408 " in talk(door, head(door, length="900"), *drops, pause_s=0.1)
    assert door.facts() == before


def test_an_upload_of_untold_length_is_refused(door: Door) -> None:
    before = door.facts()
    assert b" 411 " in talk(door, head(door, length=None), b"384\r\n" + UPDATE + b"\r\n")
    assert door.facts() == before


@pytest.mark.parametrize("length", ["1001", "99999999999999999999"])
def test_an_upload_above_the_limit_is_refused_before_it_is_read(door: Door, length: str) -> None:
    before = door.facts()
    found = talk(door, head(door, length=length))
    assert b" 413 " in found or b" 400 " in found
    assert door.facts() == before


def test_an_upload_that_is_shorter_than_the_signed_one_is_refused(door: Door) -> None:
    before = door.facts()
    assert b" 401 " in talk(door, head(door, length="899"), UPDATE[:899])
    assert door.facts() == before


def test_what_comes_after_the_told_length_is_no_part_of_the_upload(door: Door) -> None:
    found = talk(door, head(door, length="900"), UPDATE + b"more")
    # uvicorn refuses it all if the rest has come before the request is handled.
    assert b" 201 " in found or b" 400 " in found
    folder = f"silos/ash/{JOB}/updates/{ROUND:06d}/"
    kept = {path: sha for path, sha in door.facts()["exchange"].items() if path.startswith(folder)}
    assert set(kept.values()) <= {sha256_of(UPDATE)}


def test_a_silo_has_few_uploads_under_way(door: Door) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", door.server.port), timeout=3))
            half.sendall(head(door, length="900") + UPDATE[:100])
        time.sleep(0.4)
        assert b" 429 " in talk(door, head(door, length="900"), UPDATE)
        # Another silo has its own.
        door.client("birch").send_update(door.ids["birch"], b"birch's")
    time.sleep(0.5)
    door.client("ash").send_update(door.ids["ash"], UPDATE)
