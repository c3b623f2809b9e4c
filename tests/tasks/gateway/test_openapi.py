"""The OpenAPI document describes what the gateway does, for strangers and for silos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import requests
import schemathesis
from hypothesis import given, settings

from tests.tasks.gateway.conftest import Door


def test_schemathesis_finds_nothing_as_a_stranger(door: Door, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{door.server.url}/openapi.json"]
    command += ["--checks", "all", "--seed", "1", "--max-examples", "20", "--no-color"]
    before = door.facts()
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert found.returncode == 0, found.stdout
    # It only warns that everything needs a signature. With a finding the exit code is 1.
    assert "operations returned only 401/403 responses" in found.stdout
    assert door.facts() == before


def test_a_silo_s_requests_are_answered_as_described(door: Door) -> None:
    described = schemathesis.openapi.from_url(f"{door.server.url}/openapi.json")

    def send(case: Any) -> None:
        prepared = requests.Request(**case.as_transport_kwargs(base_url=door.server.url)).prepare()
        parts = urlsplit(str(prepared.url))
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        body = prepared.body or b""
        body = body.encode() if isinstance(body, str) else body
        if case.path == "/v1/orders":
            target = "/v1/orders?wait=0"  # a valid wait may be an hour
        answer = door.send(door.signed(str(prepared.method), target, bytes(body)))
        assert answer.status_code < 500, answer.text
        documented = case.operation.definition.raw["responses"]
        assert str(answer.status_code) in documented or answer.status_code in (404, 405), answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"

    found = [each.ok() for each in described.get_all_operations()]
    assert len(found) >= 9
    for operation in found:
        checked = settings(max_examples=20, deadline=None, derandomize=True)(
            given(case=operation.as_strategy())(send)
        )
        checked()


def test_the_document_says_how_requests_are_signed(door: Door) -> None:
    document = httpx.get(f"{door.server.url}/openapi.json").json()
    assert "RFC 9421" in document["components"]["securitySchemes"]["signature"]["description"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            assert ("security" in operation) == (path not in ("/healthz", "/v1/key"))
