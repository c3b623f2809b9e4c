"""What must hold after a gateway or a silo behind it has died and come back many times."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path
from typing import Any

from flows.settings.training_config import TrainingConfig
from models.ledger import chain
from tasks.gateway.access_record import access_record
from tasks.silos.egress_ledger import EgressLedger
from tests.faults.gateway_silos import SilosBehindGateway
from tests.faults.lives import Lives
from tests.faults.real_silos import NAMES


def point(target: str, when: str, containing: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a crash point, around the first call whose arguments contain the text."""
    given = {"target": target, "when": when, "call": 1, **more}
    return given | ({"with": containing} if containing else {})


def check(silos: SilosBehindGateway, config: TrainingConfig, result: dict[str, Any], lives: Lives) -> None:
    """Assert that every point was met, and that the job ended as one in which nobody died."""
    assert lives.ends == [-signal.SIGKILL] * len(lives.points), lives.points[len(lives.ends) :]
    silos.federation.check(config, result, {})
    assert not half_written(silos)
    _check_record(silos)
    for name in NAMES:
        _check_egress(silos, name)


def half_written(silos: SilosBehindGateway) -> list[Path]:
    """Return the files that were not written to their end."""
    return [path for root in (silos.root, silos.federation.home.root) for path in root.rglob("*.part")]


def _check_record(silos: SilosBehindGateway) -> None:
    """Assert that the gateway's record is whole, and names every answer."""
    found = access_record(silos.federation.home).read()
    chain.verify(found.entries, ledger="gateway's record")
    assert not found.torn
    recorded = {entry.body.get("sha256") for entry in found.entries if "answered" in entry.body["did"]}
    assert recorded == {path.stem for name in NAMES for path in answers(silos, name)}


def _check_egress(silos: SilosBehindGateway, name: str) -> None:
    """Assert that a silo gave one answer a step, and that its ledger is whole and has all that left."""
    found = EgressLedger(silos.home(name)).read_verified()
    assert not found.torn
    sent = {entry.body["sha256"] for entry in found.entries if entry.body["type"] == "sent"}
    given = answers(silos, name)
    steps = [path.parent.name for path in given]
    assert steps and len(steps) == len(set(steps))
    for path in [*given, *updates(silos, name)]:
        assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.stem in sent


def answers(silos: SilosBehindGateway, name: str) -> list[Path]:
    """Return the silo's answers that the coordinator has."""
    return sorted((silos.federation.home.exchange / "silos" / name).glob("*/answers/*/*.safetensors"))


def updates(silos: SilosBehindGateway, name: str) -> list[Path]:
    """Return the silo's updates that the coordinator still has."""
    return sorted((silos.federation.home.exchange / "silos" / name).glob("*/updates/*/*.safetensors"))
