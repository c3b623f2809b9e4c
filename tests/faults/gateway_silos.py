"""Three silos with real agents behind a real gateway, each in processes of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from flows.settings.training_config import TrainingConfig
from tasks.coordinator.trust_store import TrustStore
from tasks.gateway.own_key import own_key
from tasks.local.home import Home
from tasks.silos.joined import Joined
from tasks.silos.keys import fingerprint, make_key
from tests.faults.real_silos import CHECKOUT, NAMES, deadline_after
from tests.servers.gateway import GatewayServer
from tests.waiting import until

if TYPE_CHECKING:
    from tests.faults.conftest import Federation


@dataclass
class SilosBehindGateway:
    """Three silos beside their own data, each with an agent in a process group of its own.

    Attributes:
        root: of the silos' folders.
        federation: what the coordinator has.
        gateway: its gateway.
        running: the agents by silo.
        deadline_s: of a job's steps; see `deadline_after`.
    """

    root: Path
    federation: Federation
    gateway: GatewayServer
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    deadline_s: float = 30.0

    def home(self, name: str) -> Home:
        return Home(self.root / name)

    def enrol(self, name: str) -> None:
        data = self.root / name / "data"
        data.mkdir(parents=True)
        pd.read_parquet(self.federation.client_file(name)).to_csv(data / "sales.csv", index=False)
        settings = {"name": name, "source": {"folder": str(data)}}
        (self.home(name).root / "silo.yaml").write_text(yaml.safe_dump(settings))
        TrustStore(self.federation.home).trust(name, make_key(self.home(name)).public)
        Joined(self.gateway.url, fingerprint(own_key(self.federation.home).public)).keep(self.home(name))

    def start(self, *names: str) -> None:
        """Start the silos' agents. Wait until they ask for orders."""
        # A silo needs nothing of the coordinator's.
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW"))}
        began = time.monotonic()
        before = {name: self._requests(name) for name in names}
        for name in names:
            own = {"FEDREC_HOME": str(self.home(name).root), "PYTHONUNBUFFERED": "1"}
            with (self.root / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    [sys.executable, "-m", "flows", "silo", "start"],
                    cwd=CHECKOUT,
                    env=kept | own,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        until(lambda: all(self._requests(name) > before[name] for name in names), what="their first request")
        self.deadline_s = max(self.deadline_s, deadline_after(time.monotonic() - began))

    def _requests(self, name: str) -> int:
        """Return how many of the silo's requests the gateway has answered. The first asks for its key."""
        if name in self.running:
            assert self.running[name].poll() is None, (self.root / f"{name}.log").read_text()
        record = self.gateway.folder / "log"
        return record.read_text().count(f'"silo":"{name}"') if record.exists() else 0

    def kill(self, name: str) -> None:
        """Kill a silo's agent and the process that does its steps."""
        os.killpg(self.running[name].pid, signal.SIGKILL)
        self.running.pop(name).wait(20)

    def config(self, **federation: Any) -> TrainingConfig:
        rounds = federation.setdefault("rounds", 3)
        return self.federation.config(
            data={"dir": None, "items": str(self.federation.partition / "items.parquet")},
            federation={"deadline_s": self.deadline_s, **federation},
            evaluation={"every": rounds, "pooling_allowed": False},
            runner={"threads": None, "kind": "gateway", "silos": list(NAMES)},
        )


@contextlib.contextmanager
def behind_gateway(root: Path, federation: Federation) -> Iterator[SilosBehindGateway]:
    """Run a gateway with three enrolled silos, with no agent yet. All processes are killed in the end."""
    federation.home.root.mkdir(parents=True, exist_ok=True)
    gateway = GatewayServer(federation.home.root)
    silos = SilosBehindGateway(root / "silos", federation, gateway)
    for name in NAMES:
        silos.enrol(name)
    gateway.start()
    try:
        yield silos
    finally:
        for name in list(silos.running):
            silos.kill(name)
        gateway.stop(signal.SIGKILL)
