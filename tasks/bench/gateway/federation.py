"""A coordinator and its silos as processes of this machine: by Prefect workers, or by a gateway."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from models.errors import FedrecError
from tasks.bench.gateway.ports import HOST, free_port, listens
from tasks.local.environment import settings
from tasks.local.home import Home

_START_S, _END_S, _LOOK_S = 180.0, 60.0, 0.2
_HUB = "hub"


class FederationOfProcesses(ABC):
    """A coordinator and silos under one account, in one folder.

    Args:
        root: an empty folder.
        parts: a partition as `fedrec data partition` makes it, with one client for each silo.
        silos: names of the silos.
    """

    kind: str

    def __init__(self, root: Path, parts: Path, silos: Sequence[str]) -> None:
        self._root, self._parts, self._silos = root, parts, silos
        self._prefect_port, self._gateway_port = free_port(), free_port()
        self._running: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Run the servers and all silos while the block runs."""
        self._home(_HUB).mkdir(parents=True)
        for silo in self._silos:
            source = self._home(silo) / "source"
            source.mkdir(parents=True)
            part = self._parts / "clients" / silo / "interactions.parquet"
            pd.read_parquet(part).to_parquet(source / "a.parquet")
            found = {"name": silo, "source": {"folder": str(source)}, **self._silo_settings()}
            (self._home(silo) / "silo.yaml").write_text(yaml.safe_dump(found))
        try:
            self._connect()
            for silo in self._silos:
                self._start(silo, "flows", *self._agent(silo))
            yield
        finally:
            for process in reversed(self._running):
                process.terminate()
            for process in self._running:
                try:
                    process.wait(_END_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def train(self, rounds: int, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """Train over all silos, and return the job's result."""
        config = {
            "name": "bench",
            "model_name": "bench",
            "data": {"items": str(self._parts / "items.parquet")},
            "federation": {"rounds": rounds},
            "evaluation": {"silo_only": False, "pooling_allowed": False},
            "runner": {"kind": self.kind, "silos": list(self._silos), **self._runner()},
        }
        file = self._root / "job.yaml"
        file.write_text(yaml.safe_dump(config))
        given = [part for each in overrides for part in ("--set", each)]
        return dict(json.loads(self._run(_HUB, "train", "--config", str(file), "--json", *given)))

    def introduce(self) -> None:
        """Let the owner of each silo put the keys of the others into its roster."""
        for silo in self._silos:
            for other in self._silos:
                if other != silo:
                    public = self._home(other) / "keys" / "public.pem"
                    self._run(silo, "silo", "roster", other, str(public))

    @abstractmethod
    def _connect(self) -> None:
        """Start what silos connect to, and let the coordinator trust them."""

    @abstractmethod
    def _agent(self, silo: str) -> list[str]:
        """Return the command that does the silo's orders."""

    def _silo_settings(self) -> dict[str, Any]:
        return {}

    def _runner(self) -> dict[str, Any]:
        return {}

    def _own(self, party: str) -> dict[str, str]:
        """Return the environment's variables of a party, besides its home."""
        return dict(settings(Home(self._home(party)))) if party == _HUB else {}

    def _home(self, party: str) -> Path:
        return self._root / party

    def _environment(self, party: str) -> dict[str, str]:
        nobody = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))
        }
        return nobody | self._own(party) | {"FEDREC_HOME": str(self._home(party))}

    def _run(self, party: str, *command: str) -> str:
        """Run a command of fedrec, and return its output."""
        done = subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", "flows", *command],
            env=self._environment(party),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise FedrecError(f"fedrec {' '.join(command)} failed: {done.stderr[-1000:].strip()}")
        return done.stdout

    def _start(self, party: str, module: str, *command: str) -> None:
        log = self._root / f"{party}.log"
        with log.open("ab") as file:
            self._running.append(
                subprocess.Popen(  # noqa: S603  # our own command
                    [sys.executable, "-m", module, *command],
                    env=self._environment(party),
                    stdout=file,
                    stderr=file,
                )
            )

    def _wait_until(self, answers: Callable[[], bool], server: str) -> None:
        """Wait until a server that was just started answers.

        Raises:
            FedrecError: it does not.
        """
        deadline = time.monotonic() + _START_S
        while not answers():
            if self._running[-1].poll() is not None or time.monotonic() > deadline:
                log = (self._root / f"{_HUB}.log").read_text(errors="replace")
                raise FedrecError(f"There is no answer of {server}: {log[-1000:].strip()}")
            time.sleep(_LOOK_S)


class PrefectWorkers(FederationOfProcesses):
    """Silos with Prefect workers, which share the exchange's folder.

    Args:
        root, parts, silos: as for `FederationOfProcesses`.
        database: Prefect's, such as "postgresql+asyncpg://user:password@host/prefect"; SQLite by default.
    """

    kind = "silos"

    def __init__(self, root: Path, parts: Path, silos: Sequence[str], database: str | None = None) -> None:
        super().__init__(root, parts, silos)
        self._database = database
        self._api_url = f"http://{HOST}:{self._prefect_port}/api"

    def _connect(self) -> None:
        for silo in self._silos:
            self._run(silo, "silo", "enrol", "--name", silo)
            self._run(_HUB, "trust", silo, str(self._home(silo) / "keys" / "public.pem"))
        self._start(_HUB, "prefect", "server", "start", "--host", HOST, "--port", str(self._prefect_port))
        self._wait_until(lambda: _answers(f"{self._api_url}/health"), "Prefect's server")
        nothing = self._root / "prefect.yaml"
        nothing.write_text(yaml.safe_dump({"name": "bench", "deployments": []}))
        self._run(_HUB, "deploy", "--file", str(nothing), "--api-url", self._api_url)

    def _agent(self, silo: str) -> list[str]:
        return ["silo", "start", "--silo", silo]

    def _silo_settings(self) -> dict[str, Any]:
        return {"prefect_api_url": self._api_url, **self._runner()}

    def _runner(self) -> dict[str, Any]:
        return {"exchange": (self._root / "exchange").as_uri()}

    def _own(self, party: str) -> dict[str, str]:
        own = super()._own(party)
        if party == _HUB:
            own["PREFECT_API_URL"] = self._api_url
            if self._database:
                own["PREFECT_API_DATABASE_CONNECTION_URL"] = self._database
        return own


class SilosOfGateway(FederationOfProcesses):
    """Silos behind a gateway."""

    kind = "gateway"

    def _connect(self) -> None:
        self._start(_HUB, "flows", "gateway", "--port", str(self._gateway_port), "--self-signed", HOST)
        self._wait_until(lambda: listens(self._gateway_port), "the gateway")
        url = f"https://{HOST}:{self._gateway_port}"
        for silo in self._silos:
            invitation = str(self._root / f"{silo}.json")
            self._run(_HUB, "invite", silo, "--url", url, "--out", invitation)
            self._run(silo, "silo", "join", invitation, "--yes")

    def _agent(self, silo: str) -> list[str]:
        return ["silo", "start"]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  # our own server
            return bool(response.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False
