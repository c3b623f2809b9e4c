"""A silo in front of a proxy that lies, and of a coordinator that signs odd answers."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from models.errors import ForgedAnswer
from tasks.local.home import Home
from tasks.silos import gateway_client
from tasks.silos.gateway_client import Address, GatewayAway, GatewayClient, GatewayRefused
from tasks.silos.http_signatures import Answer, Request, sign_answer
from tasks.silos.keys import SiloKey, fingerprint, make_key, public_pem
from tasks.silos.promotion import PromotedFile

DEEP = b"[" * 100_000 + b"]" * 100_000
WAYS: tuple[Callable[[GatewayClient], Any], ...] = (
    GatewayClient.next_order,
    GatewayClient.facts,
    GatewayClient.roster,
    GatewayClient.promotions,
)
FACTS = {"protocol": 1, "oldest_protocol": 1, "version": "1", "silo": "ash", "clock_offset_s": 0.5}


@dataclass
class Lying:
    """A gateway that answers what a test says.

    Attributes:
        coordinator: the key that signs.
        client: of silo ash.
        status, body, headers: of each answer except that of /v1/key.
        signs: whether the coordinator signs the answer.
        key_status: of /v1/key.
        pause_s: between two bytes of a body.
        sent: the headers of the last answer.
    """

    coordinator: SiloKey
    client: GatewayClient = field(init=False)
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    signs: bool = True
    key_status: int = 200
    pause_s: float = 0.0
    sent: dict[str, str] = field(default_factory=dict)

    def answers(self, status: int, body: Any, *, signs: bool = True, **headers: str) -> GatewayClient:
        """Let the gateway answer this from now on, and return the client."""
        self.status, self.signs, self.headers = status, signs, headers
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client


@pytest.fixture
def lying(tmp_path: Path) -> Iterator[Lying]:
    made = Lying(make_key(Home(tmp_path / "coordinator")))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/v1/key":
                self.reply(made.key_status, public_pem(made.coordinator.public), {})
                return
            request = Request(self.command, self.path, dict(self.headers))
            answer = Answer(made.status, request, dict(made.headers))
            if made.signs:
                sha256 = hashlib.sha256(made.body).hexdigest()
                sign_answer(answer, sha256, made.coordinator.private, made.coordinator.key_id)
            made.sent = answer.headers
            self.reply(made.status, made.body, answer.headers)

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for piece in [bytes([each]) for each in body] if made.pause_s else [body]:
                self.wfile.write(piece)
                time.sleep(made.pause_s)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = Address(f"http://127.0.0.1:{server.server_port}", fingerprint(made.coordinator.public))
    made.client = GatewayClient(address, make_key(Home(tmp_path / "ash")))
    yield made
    made.client.close()
    server.shutdown()
    server.server_close()


def problem(kind: str, detail: str = "No.") -> dict[str, str]:
    return {"type": f"urn:fedrec:problem:{kind}", "detail": detail}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, problem("revoked")),
        (404, problem("not-found")),
        (409, problem("withdrawn")),
        (403, b"<html>Sign in</html>"),
        (400, DEEP),
        (422, [1]),
        (500, b""),
    ],
)
def test_a_refusal_that_the_coordinator_did_not_sign_is_nobodys_word(
    lying: Lying, way: Callable[[GatewayClient], Any], status: int, body: Any
) -> None:
    with pytest.raises(GatewayAway, match=f"status {status}") as raised:
        way(lying.answers(status, body, signs=False))
    assert raised.value.facts["status"] == status


@pytest.mark.parametrize("location", ["/elsewhere", "http://[", "https://x:99999999/", "http://\xe9/"])
def test_nobody_is_led_elsewhere(lying: Lying, location: str) -> None:
    with pytest.raises(GatewayAway):
        lying.answers(302, b"", signs=False, Location=location).facts()


def test_a_signed_refusal_of_another_request_is_nobodys_word(lying: Lying) -> None:
    with pytest.raises(GatewayRefused):
        lying.answers(401, problem("revoked")).facts()
    with pytest.raises(GatewayAway, match="status 401"):
        lying.answers(401, problem("revoked"), signs=False, **lying.sent).facts()


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (401, "revoked", GatewayRefused),
        (404, "not-found", GatewayRefused),
        (409, "withdrawn", GatewayRefused),
        (409, "replayed", GatewayAway),
        (429, "busy", GatewayAway),
        (503, "full", GatewayAway),
    ],
)
def test_a_signed_refusal_is_the_coordinators(
    lying: Lying, status: int, kind: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"No\.") as raised:
        lying.answers(status, problem(kind)).facts()
    assert getattr(raised.value, "facts", {})["status"] == status
    if error is GatewayRefused:
        assert getattr(raised.value, "kind", None) == kind


@pytest.mark.parametrize("body", [DEEP, b"<html>", [1], {"type": 1, "detail": "x"}, b"\xff", b""])
def test_a_signed_refusal_with_an_odd_body_is_one(lying: Lying, body: Any) -> None:
    with pytest.raises(GatewayRefused, match="status 403"):
        lying.answers(403, body).facts()


def test_a_detail_cannot_change_the_terminal(lying: Lying) -> None:
    detail = "\x1b[2J\r\n\u202e" + "x" * 5000
    with pytest.raises(GatewayRefused) as raised:
        lying.answers(403, problem("no", detail)).facts()
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 1100


def test_a_key_that_is_not_there_is_away(lying: Lying) -> None:
    lying.key_status = 404
    with pytest.raises(GatewayAway, match="status 404"):
        lying.client.facts()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("body", [DEEP, b"<html>", b"\xff", [1], 1, None, {}, {"silos": 1, "models": 1}])
def test_a_signed_answer_with_an_odd_body_is_forged(
    lying: Lying, way: Callable[[GatewayClient], Any], body: Any
) -> None:
    with pytest.raises(ForgedAnswer, match="that this version can read"):
        way(lying.answers(200, body))


@pytest.mark.parametrize(
    "body",
    [
        {"id": 1, "order": {}},
        {"id": "../x", "order": {}},
        {"id": "", "order": {}},
        {"id": "x" * 101, "order": {}},
        {"id": "x\n", "order": {}},
        {"id": "x", "order": []},
        {"id": "x"},
    ],
)
def test_an_order_of_another_shape_is_forged(lying: Lying, body: Any) -> None:
    right = {"id": "x" * 100, "order": {"any": "thing"}}
    order = lying.answers(200, right).next_order()
    assert order is not None and (order.id, order.body) == (right["id"], right["order"])
    with pytest.raises(ForgedAnswer, match="an order"):
        lying.answers(200, body).next_order()


@pytest.mark.parametrize(
    "changes", [{"protocol": "1"}, {"silo": None}, {"clock_offset_s": "soon"}, {"version": 1}]
)
def test_facts_of_another_type_are_forged(lying: Lying, changes: dict[str, Any]) -> None:
    assert lying.answers(200, {**FACTS, "new": [1]}).facts()["silo"] == "ash"
    with pytest.raises(ForgedAnswer, match="facts"):
        lying.answers(200, {**FACTS, **changes}).facts()


def test_a_roster_of_another_shape_is_forged(lying: Lying) -> None:
    member = {"silo": "ash", "key_id": "1", "public_key": "x"}
    assert lying.answers(200, {"silos": [member]}).roster() == [member]
    for odd in ({"silos": [{**member, "silo": 1}]}, {"silos": [{"silo": "ash"}]}):
        with pytest.raises(ForgedAnswer, match="list of silos"):
            lying.answers(200, odd).roster()


def test_a_body_that_dribbles_ends(lying: Lying, monkeypatch: pytest.MonkeyPatch) -> None:
    lying.answers(200, {**FACTS, "version": "1" * 1000}).facts()
    monkeypatch.setattr(gateway_client, "_SLOWEST_BYTES_PER_S", 1e6)
    lying.pause_s = 0.05
    began = time.monotonic()
    with pytest.raises(GatewayAway, match="too slowly"):
        lying.client._call("GET", "/v1/facts", timeout_s=0.5)
    assert time.monotonic() - began < 10


def test_a_file_is_not_longer_than_promised(
    lying: Lying, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"x" * 100
    file = PromotedFile("x", hashlib.sha256(data).hexdigest(), len(data))
    lying.answers(200, data).download(file, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == data
    monkeypatch.setattr(gateway_client, "_MAX_OBJECT_BYTES", 50)
    with pytest.raises(ForgedAnswer, match="more than 50 bytes"):
        lying.client.download(file, tmp_path / "x")


def test_a_long_refusal_of_nobody_is_away(lying: Lying, monkeypatch: pytest.MonkeyPatch) -> None:
    lying.answers(200, FACTS).facts()
    monkeypatch.setattr(gateway_client, "_MAX_JSON_BYTES", 50)
    with pytest.raises(GatewayAway, match="status 502"):
        lying.answers(502, b"x" * 100, signs=False).facts()
