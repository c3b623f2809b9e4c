"""Measures a gateway on this machine: a process of its own over TLS, and silos that share another process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from threading import Event, Thread
from typing import Any

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.errors import FedrecError
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bench.gateway.silos_at_once import Arrival, upload_for, wait_at_once
from tasks.coordinator.trust_store import TrustStore
from tasks.exchange.store import Exchange
from tasks.gateway.certificates import self_signed
from tasks.gateway.database import open_database
from tasks.gateway.order_book import OrderBook
from tasks.gateway.own_key import own_key
from tasks.gateway.settings import GatewaySettings
from tasks.local.home import Home
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tasks.messages.steps import StepOrder
from tasks.silos.keys import SiloKey, public_pem

_HOST = "127.0.0.1"
_START_S = 60.0
# Seconds after every silo had an answer, until all wait.
_SETTLED_S = 5.0
# Orders a second while they come one by one.
_PER_SECOND = 20
UPLOAD_BYTES = 450_000


@dataclass(frozen=True)
class World:
    """A gateway, its silos, and what is behind it.

    Attributes:
        home: of the coordinator.
        url: of the gateway.
        process: the gateway's.
        keys: silo -> its key.
        trusted: TLS context that trusts the gateway.
    """

    home: Home
    url: str
    process: psutil.Process
    keys: dict[str, SiloKey]
    trusted: ssl.SSLContext

    @property
    def book(self) -> OrderBook:
        return OrderBook(open_database(self.home))

    def order(self, silo: str, round_: int) -> StepOrder:
        """Return an order of the size of a real one."""
        exchange = Exchange(self.home.exchange.as_uri())
        context = JobContext("bench-1", 1, LightFMSpec(), exchange.url, "x", "0" * 64, "x", 1, 99)
        base = exchange.put("bench-1/models", b"model")
        return StepOrder("train", ClientOrder(context, silo, round_, base, StartingPoint(None, 0)))


def bench_gateway(
    folder: Path, silos: int, seconds: float, uploaders: int, announce: Callable[[str], None]
) -> dict[str, Any]:
    """Return the figures of orders one by one and at once, of uploads, and of the gateway's memory.

    Args:
        folder: an empty folder.
        silos: number of silos that wait at once.
        seconds: length of each load.
        uploaders: silos that upload at once.
        announce: told of each step.
    """
    with _world(folder, silos) as world:
        announce(f"{silos} silos wait for orders, which come one by one.")
        one_by_one = _delivered(world, _one_by_one(sorted(world.keys), round(seconds * _PER_SECOND)))
        announce("All get an order at once.")
        at_once = _delivered(world, lambda place: place(sorted(world.keys)))
        waiting_mb = world.process.memory_info().rss / 1e6
        announce(f"{uploaders} silos send updates of {UPLOAD_BYTES:,} bytes for {seconds:g} s.")
        uploads = _uploads(world, uploaders, seconds)
        return {
            "silos": silos,
            "processors": os.cpu_count(),
            "one_by_one": one_by_one,
            "at_once": at_once,
            "uploads": uploads,
            "memory_mb": round(max(waiting_mb, world.process.memory_info().rss / 1e6), 1),
        }


def _one_by_one(silos: Sequence[str], count: int) -> Callable[[Callable[[Sequence[str]], None]], None]:
    # Each at most once: a silo that has an order does not wait for the next one at once.
    chosen = random.Random(1).sample(silos, k=min(count, len(silos)))  # noqa: S311

    def place_all(place: Callable[[Sequence[str]], None]) -> None:
        for silo in chosen:
            place([silo])
            time.sleep(1 / _PER_SECOND)

    return place_all


def _delivered(world: World, place_all: Callable[[Callable[[Sequence[str]], None]], None]) -> dict[str, Any]:
    """Let all silos wait, place orders, and return how long each took to arrive."""
    placed: dict[str, float] = {}
    book, arrivals = world.book, list[Arrival]()
    ready, end = Event(), Event()
    coordinator = own_key(world.home).key_id
    silos = wait_at_once(world.url, world.keys, coordinator, world.trusted, arrivals.append, ready, end)
    waiting = Thread(target=asyncio.run, args=(silos,))
    waiting.start()
    if not ready.wait(_START_S):
        raise FedrecError("The silos did not get their first answer.")
    time.sleep(_SETTLED_S)

    def place(silos: Sequence[str]) -> None:
        orders = [world.order(silo, len(placed) + 1) for silo in silos]
        now = time.time()
        placed.update(dict.fromkeys(book.place(orders).values(), now))

    place_all(place)
    give_up = time.monotonic() + _START_S
    while len({each.order_id for each in arrivals}) < len(placed) and time.monotonic() < give_up:
        time.sleep(0.05)
    end.set()
    waiting.join()
    book.withdraw(list(placed))
    first: dict[str, float] = {}
    for each in arrivals:
        first.setdefault(each.order_id, each.at)
    ms = sorted(1000 * (first[order_id] - at) for order_id, at in placed.items() if order_id in first)
    cuts = quantiles(ms, n=100, method="inclusive")
    return {
        "orders": len(placed),
        "delivered": len(ms),
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
    }


def _uploads(world: World, uploaders: int, seconds: float) -> dict[str, Any]:
    chosen = sorted(world.keys)[:uploaders]
    ids = world.book.place([world.order(silo, 1) for silo in chosen])
    coordinator = own_key(world.home).key_id
    sent: list[int] = []

    def run(silo: str) -> None:
        sent.append(
            upload_for(
                world.url,
                world.keys[silo],
                coordinator,
                world.trusted,
                ids[silo],
                UPLOAD_BYTES,
                seconds,
            )
        )

    began = time.monotonic()
    threads = [Thread(target=run, args=(silo,)) for silo in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    return {"bytes": UPLOAD_BYTES, "count": sum(sent), "per_second": round(sum(sent) / took, 1)}


@contextlib.contextmanager
def _world(folder: Path, silos: int) -> Iterator[World]:
    home = Home(folder)
    trust = TrustStore(home)
    keys = {}
    for number in range(silos):
        key = SiloKey(Ed25519PrivateKey.generate(), folder / "none")
        keys[f"silo-{number:04d}"] = key
    _trust_all(trust, keys)
    certificate, private = self_signed(home, _HOST)
    port = _free_port()
    environ = dict(os.environ)
    GatewaySettings(home=str(home.root), exchange=home.exchange.as_uri()).to_environment(environ)
    command = [sys.executable, "-m", "tasks.gateway", "--host", _HOST, "--port", str(port), "--workers", "1"]
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own command
            [*command, "--certificate", str(certificate), "--private-key", str(private)],
            env=environ,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_it_listens(process, port, folder / "gateway.log")
        trusted = ssl.create_default_context(cafile=str(certificate))
        yield World(home, f"https://{_HOST}:{port}", psutil.Process(process.pid), keys, trusted)
    finally:
        process.terminate()
        process.wait()


def _trust_all(trust: TrustStore, keys: dict[str, SiloKey]) -> None:
    """Trust many keys. `TrustStore.trust` compares each with all others."""
    folder = trust.home.root / "trusted_silos"
    folder.mkdir(parents=True)
    for silo, key in keys.items():
        (folder / f"{silo}.pem").write_bytes(public_pem(key.public))


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up = time.monotonic() + _START_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((_HOST, port), timeout=1):
            return
        time.sleep(0.1)
    raise FedrecError(f"The gateway did not start: {log.read_text(errors='replace')[-1000:]}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((_HOST, 0))
        return int(found.getsockname()[1])
