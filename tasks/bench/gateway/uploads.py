"""Measures updates that silos upload at once, beside what a gateway cannot do without for each of them."""

from __future__ import annotations

import hashlib
import math
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.bench.gateway.ports import HOST
from tasks.bench.gateway.silos_at_once import upload_for
from tasks.bench.gateway.world import World
from tasks.gateway.api.intake import MOST_UPDATES
from tasks.local.atomic import write_atomically

UPLOAD_BYTES = 450_000
# More than a gateway takes.
_MOST_PER_S = 500
_FLOOR_TIMES = 200
_TLS_READ = 256 * 1024
# Of a signature's base.
_SIGNED = b"x" * 300


def bench_uploads(world: World, uploaders: int, seconds: float) -> dict[str, Any]:
    """Return the rate of uploads, the processor time of an upload on each side, and the least possible one.

    Args:
        world: the gateway and its silos.
        uploaders: silos that upload at once.
        seconds: length.
    """
    chosen = sorted(world.keys)[:uploaders]
    # Of several jobs, because a silo has one open order of each.
    orders = math.ceil(_MOST_PER_S * seconds / uploaders / MOST_UPDATES)
    placed = [
        world.book.place([world.order(silo, 1, f"uploads-{number}") for silo in chosen])
        for number in range(orders)
    ]
    sent: list[int] = []

    def run(silo: str) -> None:
        ids = [each[silo] for each in placed]
        key = world.keys[silo]
        sent.append(upload_for(world.url, key, world.coordinator, world.trusted, ids, UPLOAD_BYTES, seconds))

    before = world.spent()
    threads = [Thread(target=run, args=(silo,)) for silo in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, count = world.spent() - before, sum(sent)
    return {
        "silos": uploaders,
        "bytes": UPLOAD_BYTES,
        "count": count,
        "per_second": round(count / took.wall_s, 1),
        "gateway_cpu_ms": round(1000 * took.gateway_s / count, 2),
        "silos_cpu_ms": round(1000 * took.silos_s / count, 2),
        "floor_cpu_ms": _floor(world),
    }


def _floor(world: World) -> dict[str, float]:
    """Return the processor milliseconds of what each upload needs at least, in this process."""
    data = os.urandom(UPLOAD_BYTES)
    private = Ed25519PrivateKey.generate()
    public, signature = private.public_key(), private.sign(_SIGNED)
    received = _Received(world, data)
    folder = world.home.root / "floor"
    floor = {
        "tls": _cpu_ms(received.read, before=received.send),
        "signatures": _cpu_ms(lambda: (public.verify(signature, _SIGNED), private.sign(_SIGNED))),
        "sha256": _cpu_ms(lambda: hashlib.sha256(data).digest()),
        "file": _cpu_ms(lambda: write_atomically(_next(folder), data, durable=False)),
    }
    return {**floor, "all": round(sum(floor.values()), 3)}


def _cpu_ms(do: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Return the mean processor milliseconds of `do`, which follows `before` each time."""
    taken = 0.0
    for _ in range(_FLOOR_TIMES):
        before()
        began = time.process_time()
        do()
        taken += time.process_time() - began
    return round(1000 * taken / _FLOOR_TIMES, 3)


def _next(folder: Path) -> Path:
    return folder / hashlib.sha256(os.urandom(8)).hexdigest()


class _Received:
    """One TLS connection in memory, over which `data` comes again and again."""

    def __init__(self, world: World, data: bytes) -> None:
        self._data = data
        tls = world.home.root / "gateway" / "tls" / HOST
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(f"{tls}.crt", f"{tls}.key")
        self._to_silo, self._to_gateway = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._silo = world.trusted.wrap_bio(self._to_silo, self._to_gateway, server_hostname=HOST)
        self._gateway = own.wrap_bio(self._to_gateway, self._to_silo, server_side=True)
        waiting = [self._silo, self._gateway]
        while waiting:
            side = waiting.pop(0)
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                waiting.append(side)

    def send(self) -> None:
        self._silo.write(self._data)

    def read(self) -> None:
        left = len(self._data)
        while left:
            left -= len(self._gateway.read(min(left, _TLS_READ)))
