"""Many requests at once, to several processes of one gateway: each counts once, and all are recorded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from models.ledger import chain
from tasks.gateway.access_record import access_record
from tests.servers.gateway import GatewayServer
from tests.tasks.gateway.conftest import Door, entries, sha256_of


@pytest.fixture
def second(door: Door) -> Iterator[GatewayServer]:
    """Run another process of the same gateway."""
    server = GatewayServer(door.server.folder, settings=door.server.settings)
    server.start()
    yield server
    server.stop()


def at(server: GatewayServer, request: httpx.Request) -> httpx.Request:
    """Return the same request to another process. The signature does not cover the host."""
    url = request.url.copy_with(port=server.port)
    return httpx.Request(request.method, url, headers=request.headers, content=request.content)


def test_of_copies_of_a_request_at_once_one_counts(door: Door, second: GatewayServer) -> None:
    before = len(entries(door))
    request = door.signed("GET", "/v1/orders")
    copies = [request, at(second, request)] * 8
    with ThreadPoolExecutor(16) as threads:
        statuses = [answer.status_code for answer in threads.map(door.send, copies)]
    assert sorted(statuses) == [200] + [409] * 15
    assert len(entries(door)) == before + 1


def test_a_request_is_refused_again_by_a_gateway_that_was_killed(door: Door, second: GatewayServer) -> None:
    request = at(second, door.signed("GET", "/v1/facts"))
    assert door.send(request).status_code == 200
    second.stop(signal.SIGKILL)
    second.start()
    assert door.send(request).status_code == 409


def test_what_processes_record_at_once_is_one_chain(door: Door, second: GatewayServer) -> None:
    before = len(entries(door))
    bodies = [f"update {number}".encode() for number in range(20)]

    def send(number: int) -> int:
        silo = ("ash", "birch")[number % 2]
        target = f"/v1/orders/{door.ids[silo]}/updates/{sha256_of(bodies[number])}"
        request = door.signed("PUT", target, bodies[number], door.keys[silo])
        return door.send(at(second, request) if number % 4 < 2 else request).status_code

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(send, range(20)))
    found = access_record(door.home).read().entries
    chain.verify(found)
    sent = [each.body["sha256"] for each in found[before:]]
    assert sorted(sent) == sorted(
        sha256_of(body) for body, status in zip(bodies, statuses, strict=True) if status == 201
    )
    assert statuses.count(201) >= 1
