"""`make stack`: everything starts, trains, stops without leaving a process, and starts again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import small_tables
from tests.servers.free_port import free_port
from tests.servers.postgres import PostgresMissing, find_programs

ROOT = Path(__file__).parents[2]
SILOS = ["silo-01", "silo-02", "silo-03"]
PORTS = ("POSTGRES", "PREFECT", "MLFLOW", "SERVING", "GATEWAY", "GATEWAY_METRICS")
PATIENCE_S = 240


@dataclass
class Stack:
    """A federation on this machine, running or not."""

    folder: Path
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def up(self) -> float:
        """Start everything. Return the seconds until the worker and all silos are there."""
        began = time.monotonic()
        keep = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))
        }
        environ = keep | {f"{name}_PORT": str(port) for name, port in self.ports.items()}
        environ["FEDREC_HOME"] = str(self.folder / "home")
        environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        tables = [str(self.folder / "tables" / f"{name}.csv") for name in ("interactions", "items")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["sh", "infra/stack/up.sh", *tables],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not (self.online("fedrec") and self.connected() == SILOS):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - began < PATIENCE_S, self.log.read_text()
            time.sleep(0.5)
        return time.monotonic() - began

    def online(self, pool: str) -> bool:
        """Return whether a worker that was started after this process serves the pool."""
        try:
            workers = self.prefect(f"work_pools/{pool}/workers/filter", {})
        except (urllib.error.URLError, ConnectionError):
            return False
        started = psutil.Process(self.process.pid).create_time() if self.process else 0.0
        return any(_epoch(each["last_heartbeat_time"]) > started for each in workers)

    def connected(self) -> list[str]:
        """Return the silos that were at the gateway since this process was started."""
        home = self.folder / "home" / "stack"
        done = subprocess.run(
            [sys.executable, "-m", "flows", "silos", "--json"],
            cwd=ROOT,
            env=os.environ
            | {
                "FEDREC_HOME": str(home / "coordinator"),
                "FEDREC_ORDERS": f"postgresql+psycopg://gateway@127.0.0.1:{self.ports['POSTGRES']}/gateway",
                "PGPASSFILE": str(home / "pgpass"),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        started = psutil.Process(self.process.pid).create_time() if self.process else 0.0
        seen = {each["silo"]: each["seconds_ago"] for each in json.loads(done.stdout)["silos"]}
        return sorted(name for name, ago in seen.items() if ago is not None and time.time() - ago > started)

    def down(self, number: signal.Signals) -> float:
        """Stop everything. Return the seconds until no process of the stack was left."""
        assert self.process is not None
        everybody = self.processes()
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(30)
        _, left = psutil.wait_procs(everybody, timeout=5)
        assert not left, self.log.read_text()
        self.process = None
        return time.monotonic() - began

    def processes(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid) if self.process else None
        return [] if root is None else [root, *root.children(recursive=True)]

    def memory(self) -> int:
        """Return the bytes of memory that the processes take. Shared memory counts once."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):  # some live for a moment only
                total += process.memory_full_info().pss
        return total

    def prefect(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return _json(f"http://127.0.0.1:{self.ports['PREFECT']}/api/{path}", body)

    def served_version(self) -> int:
        """Return the version that answers a request. Wait until there is one."""
        url = f"http://127.0.0.1:{self.ports['SERVING']}/v1/recommendations"
        began = time.monotonic()
        while True:
            try:
                answer = _json(url, {"history": [{"item_id": "i001"}], "k": 5})
                break
            except (urllib.error.URLError, ConnectionError):
                assert time.monotonic() - began < PATIENCE_S, self.log.read_text()
                time.sleep(0.5)
        assert len(answer["recommendations"]) == 5
        return int(answer["model"]["version"])

    def mlflow(self, path: str) -> Any:
        return _json(f"http://127.0.0.1:{self.ports['MLFLOW']}/api/2.0/mlflow/{path}")


def _json(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own address
        return json.load(answer)


def _epoch(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


@pytest.fixture
def stack() -> Iterator[Stack]:
    try:
        find_programs()
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    # Not below pytest's own temporary folder, because the account postgres could not enter it.
    folder = Path(tempfile.mkdtemp(prefix="fedrec-stack-"))
    folder.chmod(0o755)
    small_tables(folder / "tables")
    one = Stack(folder)
    yield one
    for process in one.processes():
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def trained(stack: Stack) -> str:
    """Run a short job to its end. Return its final state."""
    [training] = stack.prefect("deployments/filter", {"deployments": {"tags": {"all_": ["training"]}}})
    config = training["parameters"]["config"] | {
        "train": {"dims": 4},
        "federation": {"rounds": 1},
        "evaluation": {"negatives": 9, "silo_only": False},
    }
    return run(stack, training, {"config": config})


def run(stack: Stack, deployment: dict[str, Any], parameters: dict[str, Any]) -> str:
    """Run the deployment to its end. Return its final state."""
    run = stack.prefect(
        f"deployments/{deployment['id']}/create_flow_run",
        {"parameters": parameters, "state": {"type": "SCHEDULED"}},
    )
    began = time.monotonic()
    while True:
        state = stack.prefect(f"flow_runs/{run['id']}")["state"]["type"]
        if state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return str(state)
        assert time.monotonic() - began < PATIENCE_S, stack.log.read_text()
        time.sleep(1)


@pytest.mark.timeout(900)
def test_the_stack_comes_up_trains_goes_down_and_comes_up_again(stack: Stack) -> None:
    up_s = stack.up()
    memory = stack.memory()
    assert trained(stack) == "COMPLETED", stack.log.read_text()
    [version] = stack.mlflow("model-versions/search")["model_versions"]
    assert version["source"].startswith("mlflow-artifacts:/")
    filtered = {"flows": {"name": {"any_": ["promotion"]}}}
    [promotion] = stack.prefect("deployments/filter", filtered)
    assert run(stack, promotion, {"require_approval": False}) == "COMPLETED", stack.log.read_text()
    assert stack.served_version() == int(version["version"])
    down_s = stack.down(signal.SIGTERM)

    # PostgreSQL was shut down in order, and each silo kept its own egress ledger.
    home = stack.folder / "home" / "stack"
    assert (home / "postgres" / "data" / "PG_VERSION").is_file()
    assert not (home / "postgres" / "data" / "postmaster.pid").exists()
    for name in SILOS:
        # The scripts filled its roster, so what it sent was masked.
        assert "masked among 3 members" in (home / "silos" / name / "egress.jsonl").read_text()
        assert (home / "silos" / name).stat().st_mode & 0o077 == 0
    assert (home / "pgpass").stat().st_mode & 0o077 == 0

    again_s = stack.up()
    assert stack.mlflow("model-versions/search")["model_versions"] == [version]
    assert "fedrec" in [each["name"] for each in stack.prefect("work_pools/filter", {})]
    assert stack.served_version() == int(version["version"])
    stack.down(signal.SIGINT)
    print(f"up {up_s:.0f} s, {memory / 1e6:.0f} MB, down {down_s:.1f} s, up again {again_s:.0f} s")
