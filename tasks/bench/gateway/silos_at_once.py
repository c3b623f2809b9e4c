"""Silos that wait for orders at once, or upload, in one process and without doing any work."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event

import httpx

from tasks.gateway.api.intake import MOST_UPDATES
from tasks.silos.http_signatures import Request, sign_request
from tasks.silos.keys import SiloKey

_NOTHING = hashlib.sha256(b"").hexdigest()
_OK, _CREATED, _NO_CONTENT = 200, 201, 204
_TIMEOUT_S = 60.0
# As `tasks.silos.agent`, which asks meanwhile whether its order still counts.
_AT_WORK_S = 5.0


@dataclass(frozen=True)
class Arrival:
    """An order that a silo has got.

    Attributes:
        order_id: the order.
        at: Unix time.
    """

    order_id: str
    at: float


async def wait_at_once(
    url: str,
    keys: Mapping[str, SiloKey],
    coordinator: str,
    trusted: ssl.SSLContext,
    arrived: Callable[[Arrival], None],
    ready: Event,
    end: Event,
) -> None:
    """Let every silo wait for orders over a connection of its own, until `end` is set.

    Args:
        url: of the gateway.
        keys: silo -> its key.
        coordinator: id of the coordinator's key.
        trusted: TLS context.
        arrived: told of each order. A silo that has got one asks again after some seconds, as one that works.
        ready: set when every silo has had an answer.
        end: ends the wait.
    """
    answered: set[str] = set()

    async def silo(name: str, key: SiloKey) -> None:
        target = "/v1/orders?wait=0"
        # A client of its own: a pool of many connections looks through all of them at each request.
        async with httpx.AsyncClient(base_url=url, verify=trusted, timeout=_TIMEOUT_S) as client:
            while not end.is_set():
                request = Request("GET", target)
                sign_request(request, _NOTHING, key.private, key.key_id, coordinator)
                answer = await client.get(target, headers=request.headers)
                if answer.status_code == _OK:
                    arrived(Arrival(json.loads(answer.content)["id"], time.time()))
                    await asyncio.sleep(_AT_WORK_S)
                elif answer.status_code != _NO_CONTENT:
                    answer.raise_for_status()
                answered.add(name)
                if len(answered) == len(keys):
                    ready.set()
                # As `tasks.silos.agent` does.
                target = f"/v1/orders?wait={25 * random.uniform(0.6, 1.0):g}"  # noqa: S311

    tasks = [asyncio.create_task(silo(name, key)) for name, key in keys.items()]
    while not end.is_set():
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def upload_for(
    url: str,
    key: SiloKey,
    coordinator: str,
    trusted: ssl.SSLContext,
    order_ids: Sequence[str],
    size: int,
    seconds: float,
) -> int:
    """Upload different updates one after the other for some seconds, and return how many were accepted.

    It ends earlier if the orders are used up: each takes `MOST_UPDATES`.

    Args:
        url: of the gateway.
        key: of the silo.
        coordinator: id of the coordinator's key.
        trusted: TLS context.
        order_ids: open orders of the silo.
        size: bytes of an update.
        seconds: length.
    """
    data, sent = bytearray(os.urandom(size)), 0
    give_up = time.monotonic() + seconds
    with httpx.Client(base_url=url, verify=trusted, timeout=_TIMEOUT_S) as client:
        for order_id in (each for each in order_ids for _ in range(MOST_UPDATES)):
            if time.monotonic() >= give_up:
                break
            data[:8] = sent.to_bytes(8, "big")
            sha256 = hashlib.sha256(data).hexdigest()
            request = Request("PUT", f"/v1/orders/{order_id}/updates/{sha256}")
            sign_request(request, sha256, key.private, key.key_id, coordinator)
            answer = client.put(request.target, headers=request.headers, content=bytes(data))
            answer.raise_for_status()
            sent += answer.status_code == _CREATED
    return sent
