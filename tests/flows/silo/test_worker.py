"""A silo's worker in a process of its own, beside a real Prefect server: what happens to its pool's runs."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml

from tasks.local.home import Home
from tasks.silos.keys import make_key
from tests.servers.prefect_server import PrefectServer
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)
NO_ORDER: dict[str, Any] = {}


@dataclass
class Worker:
    """A silo with a worker, in a process group of its own.

    Attributes:
        name: the silo's name.
        home: the silo's folder.
        process: the worker, once it has been started.
    """

    name: str
    home: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def start(self, *before: str) -> None:
        """Start the worker by a command before it, if any."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "flows", "silo", "start"],
                env=kept | {"FEDREC_HOME": str(self.home), "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def deploy(self) -> UUID:
        """Create the deployment of the silo's steps, with its pool."""
        from prefect.client.orchestration import get_client

        from flows.silo.step import silo_step
        from tasks.orchestration.deployments import create_pool

        with get_client(sync_client=True) as client:
            create_pool(client, f"silo-{self.name}")
            flow_id = client.create_flow(silo_step)
            return client.create_deployment(flow_id, name=self.name, work_pool_name=f"silo-{self.name}")

    def hang(self) -> None:
        """Make later steps wait when they read the silo's settings: a FIFO that nobody writes to."""
        (self.home / "silo.yaml").unlink()
        os.mkfifo(self.home / "silo.yaml")

    def processes(self) -> set[int]:
        """Return all living processes of the worker's group."""
        found = set()
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group = entry.read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(group) == self.process.pid and state != "Z":
                found.add(int(entry.parent.name))
        return found


@pytest.fixture
def worker(tmp_path: Path, prefect_server: None) -> Iterator[Worker]:
    from prefect.settings import PREFECT_API_URL

    # Prefect's server is the whole session's, so each test has a silo of its own.
    worker = Worker(f"ash-{uuid4().hex[:12]}", tmp_path / "silo")
    make_key(Home(worker.home))
    settings = {
        "name": worker.name,
        "prefect_api_url": str(PREFECT_API_URL.value()),
        "exchange": (tmp_path / "exchange").as_uri(),
        "source": {"folder": str(tmp_path / "data")},
    }
    (worker.home / "silo.yaml").write_text(yaml.safe_dump(settings))
    yield worker
    if worker.process is not None:
        os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait(20)


def start_run(deployment_id: UUID, order: Any) -> UUID:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.create_flow_run_from_deployment(deployment_id, parameters={"order": order}).id


def state(run_id: UUID) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id).state


def ended(run_id: UUID) -> Any:
    """Return the final state of the run."""
    return until(lambda: (now := state(run_id)).is_final() and now)


def test_the_module_that_the_prepared_process_imports_exists() -> None:
    from flows.silo.worker import PRELOADED

    assert importlib.util.find_spec(PRELOADED) is not None


def test_a_failed_step_reports_its_kind_and_the_worker_continues(worker: Worker) -> None:
    deployment_id = worker.deploy()
    worker.start()
    for order in (NO_ORDER, "no order either"):
        end = ended(start_run(deployment_id, order))
        assert end.is_failed()
        assert end.message == "InvalidInput; the silo's own log has the details."
    assert "missing, unknown or malformed part" in (worker.home / "silo.log").read_text()


def test_a_killed_step_is_crashed_at_once_and_a_cancelled_one_is_ended(worker: Worker) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    deployment_id = worker.deploy()
    worker.start()
    ended(start_run(deployment_id, NO_ORDER))  # from now on its prepared process exists
    before = worker.processes()
    worker.hang()

    run_id = start_run(deployment_id, NO_ORDER)
    until(lambda: state(run_id).is_running())
    (step,) = worker.processes() - before
    os.kill(step, signal.SIGKILL)
    end = ended(run_id)
    assert end.is_crashed()
    assert "-9" in end.message

    run_id = start_run(deployment_id, NO_ORDER)
    until(lambda: state(run_id).is_running())
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run_id, Cancelling(), force=True)
    assert ended(run_id).is_cancelled()
    until(lambda: worker.processes() == before)


def test_it_waits_for_a_server_that_is_away_and_for_its_pool(
    restartable_prefect: PrefectServer, worker: Worker
) -> None:
    restartable_prefect.stop()
    worker.start()
    until(lambda: "All connection attempts failed" in worker.log)
    restartable_prefect.start()
    run_id = start_run(worker.deploy(), NO_ORDER)
    # After a failure, Prefect's worker tries the server again within a minute.
    assert until(lambda: (now := state(run_id)).is_final() and now, 200).is_failed()


@pytest.mark.parametrize(
    "before",
    # A script's "&" starts a process that ignores SIGINT.
    [(), ("sh", "-c", 'trap "" INT; exec "$0" "$@"')],
    ids=["by a terminal", "by a script"],
)
def test_a_stopped_worker_leaves_no_process(worker: Worker, before: tuple[str, ...]) -> None:
    deployment_id = worker.deploy()
    worker.start(*before)
    ended(start_run(deployment_id, NO_ORDER))
    worker.hang()
    run_id = start_run(deployment_id, NO_ORDER)
    until(lambda: state(run_id).is_running())
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(60) == 0
    until(lambda: not worker.processes())
