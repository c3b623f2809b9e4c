"""A gateway on this machine, a process of its own over TLS, with the keys of many silos."""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.errors import FedrecError
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bench.gateway.ports import HOST, free_port, listens
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

_START_S = 60.0


@dataclass(frozen=True)
class TimeSpent:
    """Processor and wall seconds that were spent.

    Attributes:
        gateway_s: processor seconds of the gateway.
        silos_s: processor seconds of this process, which plays the silos.
        wall_s: wall seconds.
    """

    gateway_s: float
    silos_s: float
    wall_s: float

    def __sub__(self, before: TimeSpent) -> TimeSpent:
        return TimeSpent(
            self.gateway_s - before.gateway_s, self.silos_s - before.silos_s, self.wall_s - before.wall_s
        )


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
        """Return the orders."""
        return OrderBook(open_database(self.home))

    @property
    def coordinator(self) -> str:
        """Return the id of the coordinator's key."""
        return own_key(self.home).key_id

    def spent(self) -> TimeSpent:
        """Return what was spent so far."""
        gateway, own = self.process.cpu_times(), os.times()
        return TimeSpent(gateway.user + gateway.system, own.user + own.system, time.monotonic())

    def order(self, silo: str, round_: int, job_id: str = "bench-1") -> StepOrder:
        """Return an order of the size of a real one."""
        exchange = Exchange(self.home.exchange.as_uri())
        context = JobContext(job_id, 1, LightFMSpec(), exchange.url, "x", "0" * 64, "x", 1, 99)
        base = exchange.put("bench-1/models", b"model")
        return StepOrder("train", ClientOrder(context, silo, round_, base, StartingPoint(None, 0)))


@contextlib.contextmanager
def open_world(folder: Path, silos: int) -> Iterator[World]:
    """Run a gateway that trusts so many silos while the block runs.

    Args:
        folder: an empty folder.
        silos: their number.
    """
    home = Home(folder)
    trust = TrustStore(home)
    keys = {}
    for number in range(silos):
        key = SiloKey(Ed25519PrivateKey.generate(), folder / "none")
        keys[f"silo-{number:04d}"] = key
    _trust_all(trust, keys)
    certificate, private = self_signed(home, HOST)
    port = free_port()
    environ = dict(os.environ)
    GatewaySettings(home=str(home.root), exchange=home.exchange.as_uri()).to_environment(environ)
    command = [sys.executable, "-m", "tasks.gateway", "--host", HOST, "--port", str(port), "--workers", "1"]
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
        yield World(home, f"https://{HOST}:{port}", psutil.Process(process.pid), keys, trusted)
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
    while time.monotonic() < give_up and process.poll() is None:
        if listens(port):
            return
        time.sleep(0.1)
    raise FedrecError(f"The gateway did not start: {log.read_text(errors='replace')[-1000:]}")
