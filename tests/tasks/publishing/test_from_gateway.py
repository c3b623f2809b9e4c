"""A silo looks at its disk before it fetches a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from models.errors import DiskFull
from tasks.local.home import Home
from tasks.publishing.from_gateway import GatewayPublisher
from tasks.publishing.silo_users import SiloUsers
from tasks.silos.gateway_client import Address, GatewayClient
from tasks.silos.keys import fingerprint, make_key
from tasks.silos.promotion import PromotedFile, Promotion


class Large(GatewayClient):
    """A client of a gateway that promotes two files of 4 GB each."""

    def promotions(self) -> list[Promotion]:
        files = tuple(PromotedFile(name, "0" * 64, 4_000_000_000) for name in ("a.npy", "b.npy"))
        return [Promotion("movies", "1-x", "0" * 64, {}, files)]


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """Run a server, and yield its address and what it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(503)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    server.server_close()


def test_a_bundle_that_does_not_fit_is_not_fetched(
    asked: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, paths = asked
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=7_900_000_000))
    key = make_key(Home(tmp_path / "key"))
    client = Large(Address(url, fingerprint(key.public)), key)
    users = SiloUsers("ash", lambda *_: "")
    with pytest.raises(DiskFull, match=r"has 8\.0 GB, but 7\.9 GB are free.*Free space"):
        GatewayPublisher(Home(tmp_path / "ash"), client, "movies", users).publish()
    assert paths == []
    assert not [path for path in (tmp_path / "ash").rglob("*") if path.name.startswith(".1-x")]
