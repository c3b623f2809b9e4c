"""Serving processes over small bundles, and a registry to publish from."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.recommenders.scoring.fold_in import ItemSide
from models.recommenders.scoring.scorer import Factors
from serving.settings import Settings
from tasks.bundles.bundle import Labels, write_bundle
from tasks.bundles.pointer import Pointer, Target, write_pointer
from tests.servers.free_port import free_port

ITEMS = 60


def factors(seed: int = 1, items: int = ITEMS) -> Factors:
    """Return random item factors of 8 dims."""
    random = np.random.default_rng(seed)
    embeddings = random.standard_normal((items, 8), dtype=np.float32)
    return Factors.of(ItemSide.of(embeddings, random.standard_normal(items, dtype=np.float32)))


def ids(items: int = ITEMS) -> list[str]:
    return [f"i{row}" for row in range(items)]


def titles(items: int = ITEMS) -> list[str]:
    return [f"Film {row:03d}, The (19{row % 100:02d})" for row in range(items)]


def labels(items: int = ITEMS) -> Labels:
    rows = np.arange(items)
    return Labels.of(items, {"parity:even": rows[::2], "parity:odd": rows[1::2], "rest:third": rows[::3]})


def facts(version: int = 1, items: int = ITEMS) -> dict[str, Any]:
    return {
        "model_name": "movies",
        "version": version,
        "round": 10 * version,
        "sha256": f"{version:064x}",
        "job_id": "job-a",
        "catalog_digest": "c" * 64,
        "committed_at": "2026-11-20T10:00:00+00:00",
        "privacy": None,
        "items": items,
        "dims": 8,
    }


def put_bundle(
    folder: Path, version: int = 1, *, seed: int | None = None, items: int = ITEMS, **more: Any
) -> Target:
    """Write a bundle of random factors below the folder. The seed is the version unless another is given."""
    model = factors(version if seed is None else seed, items)
    named = ids(items), titles(items), labels(items)
    digest = write_bundle(folder / f"{version}-x", {**facts(version, items), **more}, model, *named)
    return Target(f"{version}-x", digest, {})


@dataclass
class Server:
    """A serving process and a client of it."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, http.client.HTTPResponse]:
        """Return status, decoded body and response. A body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, data, {"content-type": "application/json"} | (headers or {}))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if "json" in (response.getheader("content-type") or ""):
            return response.status, json.loads(content), response
        return response.status, content.decode(), response

    def get(self, path: str) -> Any:
        """Return the decoded body of a reply that must be 200."""
        status, content, _ = self.ask("GET", path)
        assert status == 200, content
        return content

    def recommend(self, **question: Any) -> Any:
        """Return the answer to a request for recommendations, which must be 200."""
        status, content, _ = self.ask("POST", "/v1/recommendations", question)
        assert status == 200, content
        return content

    def wait_until(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until something is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if holds():
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(self.log.read_text()[-3000:])

    def is_ready(self) -> bool:
        return self.ask("GET", "/readyz")[0] == 200

    def metric(self, name: str) -> float:
        """Return the value of a metric. Its labels are part of the name, as Prometheus writes them."""
        for line in str(self.get("/metrics")).splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0


@contextmanager
def running(
    command: list[str], port: int, log: Path, environ: dict[str, str] | None = None
) -> Iterator[Server]:
    """Run a process that listens on a port, for the length of the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command], env=os.environ | (environ or {}), stdout=file, stderr=file
        )
        server = Server(port, process, log)
        try:
            server.wait_until(lambda: server.ask("GET", "/healthz")[0] == 200)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


@contextmanager
def serving(folder: Path, log: Path, workers: int = 1, **settings: Any) -> Iterator[Server]:
    """Run a serving process over a folder of bundles of the model "movies"."""
    port = free_port()
    defaults = {"folder": str(folder), "model_name": "movies", "rate": 0.0, "poll": 0.05}
    chosen = json.dumps(vars(Settings(**(defaults | settings))))
    command = ["-m", "serving", "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    with running(command, port, log, {"FEDREC_SERVE_SETTINGS": chosen}) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a serving process over one version, for the tests of a module that do not change it."""
    folder = tmp_path_factory.mktemp("bundles")
    write_pointer(folder, Pointer(put_bundle(folder)))
    with serving(folder, folder / "log") as found:
        found.wait_until(found.is_ready)
        yield found
