"""A gateway with two silos, ash and birch, and an open order for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx
import pytest

from models.federation.envelope import AnswerContext
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bundles.pointer import Pointer, Target, write_pointer
from tasks.bundles.serving_folder import serving_folder
from tasks.coordinator.trust_store import TrustStore
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.gateway.database import open_database
from tasks.gateway.members import Members
from tasks.gateway.order_book import OrderBook
from tasks.gateway.own_key import own_key
from tasks.local.home import Home
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tasks.messages.steps import StepOrder
from tasks.silos.gateway_client import Address, GatewayClient
from tasks.silos.http_signatures import Request, sign_request
from tasks.silos.keys import SiloKey, fingerprint, make_key
from tasks.silos.signed_answers import sign_answer
from tests.servers.gateway import GatewayServer
from tests.worlds.served import put_bundle

JOB, ROUND = "job-1", 3


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Door:
    """A gateway, what is behind it, and the keys of the silos before it.

    Attributes:
        server: the process.
        keys: silo -> its key.
        ids: silo -> id of its open order.
        base: silo -> the model that its order names.
    """

    server: GatewayServer
    keys: dict[str, SiloKey]
    ids: dict[str, str] = field(default_factory=dict)
    base: dict[str, ArtifactRef] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return self.server.home

    @property
    def exchange(self) -> Exchange:
        return Exchange(self.home.exchange.as_uri())

    @property
    def book(self) -> OrderBook:
        return OrderBook(open_database(self.home))

    @property
    def trust(self) -> TrustStore:
        return TrustStore(self.home)

    @property
    def coordinator(self) -> SiloKey:
        return own_key(self.home)

    def place(self, round_: int = ROUND) -> None:
        """Place an order for each silo."""
        context = JobContext(
            job_id=JOB,
            seed=1,
            spec=LightFMSpec(dims=4),
            exchange_url=self.exchange.url,
            data_dir="x",
            data_digest="0" * 64,
            silos_dir="x",
            evaluation_seed=1,
            negatives=9,
        )
        orders = []
        for silo in self.keys:
            self.base[silo] = self.exchange.put(f"{JOB}/models", f"model for {silo}".encode())
            order = ClientOrder(context, silo, round_, self.base[silo], StartingPoint(None, 0))
            orders.append(StepOrder("train", order))
        self.ids = self.book.place(orders)

    def promote(self, version: int = 1) -> Target:
        """Publish a version of model "movies", whose only member is ash."""
        Members(open_database(self.home)).add(["ash"], "movies")
        folder = serving_folder(self.home, "movies")
        folder.mkdir(parents=True, exist_ok=True)
        target = replace(put_bundle(folder, version), decision={"decided_by": "eve"})
        write_pointer(folder, Pointer(target))
        return target

    def client(self, silo: str) -> GatewayClient:
        address = Address(self.server.url, fingerprint(self.coordinator.public))
        return GatewayClient(address, self.keys[silo])

    def answer(self, silo: str, body: dict[str, Any] | None = None) -> bytes:
        """Return a signed answer to the silo's order."""
        context = AnswerContext(silo, "train", JOB, ROUND, self.base[silo].sha256)
        return sign_answer(context, body or {}, self.keys[silo])

    def signed(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        key: SiloKey | None = None,
        *,
        created: datetime | None = None,
        coordinator: str | None = None,
    ) -> httpx.Request:
        """Return a request that is signed as a silo signs it."""
        key = key or self.keys["ash"]
        request = Request(method, target)
        sign_request(
            request,
            sha256_of(body),
            key.private,
            key.key_id,
            coordinator or self.coordinator.key_id,
            created=created,
        )
        return httpx.Request(method, self.server.url + target, headers=request.headers, content=body)

    def send(self, request: httpx.Request) -> httpx.Response:
        with httpx.Client(timeout=30) as client:
            return client.send(request)

    def facts(self) -> dict[str, Any]:
        """Return everything behind the gateway that a request could change."""
        exchange = {
            str(path.relative_to(self.home.exchange)): sha256_of(path.read_bytes())
            for path in sorted(self.home.exchange.rglob("*"))
            if path.is_file()
        }
        record = self.home.root / "gateway" / "access.jsonl"
        states = self.book.states(list(self.ids.values()))
        keys = {silo: sha256_of(key.public_bytes_raw()) for silo, key in self.trust.keys().items()}
        lines = record.read_text().splitlines() if record.exists() else []
        return {"exchange": exchange, "states": states, "keys": keys, "record": lines}


def entries(door: Door) -> list[dict[str, Any]]:
    """Return what the gateway has recorded."""
    path = door.home.root / "gateway" / "access.jsonl"
    return [json.loads(line)["body"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Run a gateway for the tests of a module."""
    folder = tmp_path_factory.mktemp("gateway")
    keys = {silo: make_key(Home(folder / "silos" / silo)) for silo in ("ash", "birch")}
    server = GatewayServer(folder / "home", settings={"max_object_bytes": 1000, "silence_s": 1.0})
    server.folder.mkdir()
    door = Door(server, keys)
    server.start()
    yield door
    server.stop()


@pytest.fixture
def door(gateway: Door) -> Door:
    """Return the gateway, with both silos trusted, and with new orders."""
    for silo, key in gateway.keys.items():
        gateway.trust.trust(silo, key.public, force=True)
    gateway.exchange.remove("silos")
    gateway.place()
    return gateway
