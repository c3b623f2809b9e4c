"""Silos with real agents behind a real gateway, each in processes of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from sqlalchemy import Engine

from flows.settings.training_config import TrainingConfig
from tasks.coordinator.trust_store import TrustStore
from tasks.gateway.database import open_database
from tasks.gateway.own_key import own_key
from tasks.gateway.visits import Visits
from tasks.local.home import Home
from tasks.silos.joined import Joined
from tasks.silos.keys import fingerprint, make_key
from tests.faults.lives import Lives
from tests.faults.real_silos import CHECKOUT, NAMES, deadline_after
from tests.servers.gateway import GatewayServer, python
from tests.waiting import until

if TYPE_CHECKING:
    from tests.faults.conftest import Federation


@dataclass
class SilosBehindGateway:
    """Silos beside their own data, each with an agent in a process group of its own.

    Attributes:
        root: of the silos' folders.
        federation: what the coordinator has.
        gateway: its gateway.
        names: of the silos.
        running: the agents by silo.
        deadline_s: of a job's steps; see `deadline_after`.
    """

    root: Path
    federation: Federation
    gateway: GatewayServer
    names: tuple[str, ...] = NAMES
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

    def start(self, *names: str, lives: Lives | None = None) -> None:
        """Start the silos' agents, which die as `lives` says. Wait until they ask for orders."""
        # A silo needs nothing of the coordinator's.
        others = ("PREFECT", "MLFLOW", "PG")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(others)}
        began = time.time()
        command = (lives.of if lives else python)("flows", "silo", "start")
        for name in names:
            own = {"FEDREC_HOME": str(self.home(name).root), "PYTHONUNBUFFERED": "1"}
            with (self.root / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    command,
                    cwd=CHECKOUT,
                    env=kept | own,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        until(lambda: all(self._is_there(name, began) for name in names), what="their first request")
        self.deadline_s = max(self.deadline_s, deadline_after(time.time() - began))

    def _is_there(self, name: str, since: float) -> bool:
        """Return whether the gateway has admitted a request of the silo since this Unix time."""
        assert self.running[name].poll() is None, (self.root / f"{name}.log").read_text()
        found = Visits(self._engine).all().get(name)
        return found is not None and found.seen_at >= since

    @cached_property
    def _engine(self) -> Engine:
        return open_database(self.federation.home, self.gateway.settings.get("database"))

    def kill(self, name: str) -> None:
        """Kill a silo's agent and the process that does its steps."""
        os.killpg(self.running[name].pid, signal.SIGKILL)
        self.running.pop(name).wait(20)

    def config(self, **federation: Any) -> TrainingConfig:
        rounds = federation.setdefault("rounds", 3)
        orders = self.gateway.settings.get("database")
        return self.federation.config(
            data={"dir": None, "items": str(self.federation.partition / "items.parquet")},
            federation={"deadline_s": self.deadline_s, **federation},
            evaluation={"every": rounds, "pooling_allowed": False},
            runner={"threads": None, "kind": "gateway", "silos": list(self.names), "orders": orders},
        )


@contextlib.contextmanager
def behind_gateway(
    root: Path,
    federation: Federation,
    *,
    names: tuple[str, ...] = NAMES,
    database: str | None = None,
    lives: Lives | None = None,
) -> Iterator[SilosBehindGateway]:
    """Run a gateway with enrolled silos, with no agent yet. All processes are killed in the end.

    Args:
        root: of the silos' folders.
        federation: what the coordinator has.
        names: of the silos, whose data the federation's partition has.
        database: URL of the orders; None for a file of the coordinator's.
        lives: how often the gateway dies, and where; None if the test ends it.
    """
    federation.home.root.mkdir(parents=True, exist_ok=True)
    command_of = lives.of if lives else python
    gateway = GatewayServer(federation.home.root, settings={"database": database}, command_of=command_of)
    silos = SilosBehindGateway(root / "silos", federation, gateway, names)
    for name in names:
        silos.enrol(name)
    gateway.start()
    try:
        yield silos
    finally:
        for name in list(silos.running):
            silos.kill(name)
        gateway.stop(signal.SIGKILL)
