"""A silo's agent outlives a damaged file and a disk that fails."""

from __future__ import annotations

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.errors import DiskFull
from tasks.datasets.source import FolderSource
from tasks.exchange.store import Exchange
from tasks.local.home import Home
from tasks.silos.agent import Agent, exchange_folder
from tasks.silos.gateway_client import Address, GatewayAway, GatewayClient
from tasks.silos.keys import fingerprint, make_key
from tasks.silos.perform_step import Silo
from tests.tasks.gateway.test_agent import Rules, Town, checked, town

__all__ = ["checked", "town"]  # fixtures

REF = {"path": "x/y", "sha256": "0" * 64, "size": 1}


@pytest.fixture
def idle(tmp_path: Path) -> tuple[Agent, Path, list[str]]:
    """Return an agent that was never connected, the file of what is ready, and what it says."""
    home, said = Home(tmp_path / "ash"), list[str]()
    key = make_key(home)
    url = exchange_folder(home.root).as_uri()
    silo = Silo(home, "ash", url, FolderSource(tmp_path), Rules(), min_users=1)
    client = GatewayClient(Address("http://127.0.0.1:1", fingerprint(key.public)), key)
    ready = home.root / "gateway" / "ready.json"
    ready.parent.mkdir()
    return Agent(silo, client, lambda: ThreadPoolExecutor(1), said.append), ready, said


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        json.dumps({"order_id": 1, "refs": [REF]}).encode(),
        json.dumps({"order_id": "x", "refs": []}).encode(),
        json.dumps({"order_id": "x", "refs": [{"path": "x"}]}).encode(),
    ],
)
def test_a_damaged_file_of_what_is_ready_is_put_aside(
    content: bytes, idle: tuple[Agent, Path, list[str]]
) -> None:
    agent, ready, said = idle
    ready.write_bytes(content)
    assert agent._ready() is None
    assert not ready.exists()
    assert ready.with_name("ready.damaged.json").read_bytes() == content
    assert any("ready.json is damaged" in line for line in said)


def test_the_order_of_a_damaged_file_is_done_again(checked: Town) -> None:
    order_id = checked.place(checked.order("train"))
    agent = checked.agent()

    def away(*_: object) -> None:
        raise GatewayAway("It is away.")

    agent._client.send_answer = away  # type: ignore[method-assign]
    with pytest.raises(GatewayAway):
        agent.do_next(5.0)
    ready = checked.silo.home.root / "gateway" / "ready.json"
    ready.write_bytes(ready.read_bytes()[:20])
    assert checked.agent().do_next(5.0)
    assert checked.outcome(order_id)[0] == "answered"


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "no"), OSError(errno.EIO, "no"), DiskFull("It is full.")]
)
def test_a_disk_that_fails_ends_the_order_and_not_the_agent(
    checked: Town, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise error

    order_id = checked.place(checked.order("train", round_=2))
    with monkeypatch.context() as patch:
        patch.setattr(Exchange, "put", broken)
        assert checked.agent().do_next(5.0)
    assert checked.outcome(order_id) == ("failed", type(error).__name__)
    assert any(line.startswith("Failed: train") for line in checked.said)
    again = checked.place(checked.order("train", round_=3))
    assert checked.agent().do_next(5.0)
    assert checked.outcome(again)[0] == "answered"
