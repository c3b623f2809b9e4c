"""Silos with real workers, each in processes of its own, which a test kills, stops or replaces."""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from flows.deployments.deployments import mark_of
from flows.settings.training_config import TrainingConfig
from flows.terminal.progress import Event, listening
from tasks.coordinator.trust_store import TrustStore
from tasks.local.home import Home
from tasks.orchestration.automations import crash_detection
from tasks.silos.egress_ledger import EgressLedger
from tasks.silos.keys import make_key
from tests.waiting import until

if TYPE_CHECKING:
    from tests.faults.conftest import Federation
    from tests.faults.gateway_silos import SilosBehindGateway

CHECKOUT = Path(__file__).parents[2]
NAMES = ("ash", "birch", "cedar")
_PROJECT = "faults"
_SHORTEST_DEADLINE_S = 30.0


def deadline_after(start_s: float) -> float:
    """Return the seconds that a silo gets for a step: eight times what its worker took to start.

    A step is less work than that. A client that misses it is left out, so it follows the machine's load.
    """
    return max(_SHORTEST_DEADLINE_S, round(8 * start_s))


class Hung:
    """A file whose readers wait: a FIFO in its place.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.content = path, path.read_bytes()
        self.writer: int | None = None
        path.unlink()
        os.mkfifo(path)

    def is_read(self) -> bool:
        """Return whether a process waits for the file. It keeps waiting."""
        try:
            writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        if self.writer is None:
            self.writer = writer
        else:
            os.close(writer)
        return True

    def release(self) -> None:
        """Restore the file, also for its waiting readers."""
        assert self.writer is not None
        self.path.unlink()
        self.path.write_bytes(self.content)
        with contextlib.suppress(BrokenPipeError):
            os.write(self.writer, self.content)
        os.close(self.writer)


def hung_training(home: Home, name: str) -> Hung:
    """Make a silo's next training wait while it reads its newest users' state."""
    (job,) = (home.silos / name / "state").iterdir()
    (state,) = job.iterdir()
    return Hung(state)


@dataclass
class Silos:
    """Three silos beside their own data, each with a worker in a process group of its own.

    Attributes:
        root: of the silos' folders and the exchange.
        federation: what the coordinator has.
        api_url: of Prefect.
        names: of the silos.
        running: the workers by silo.
        deadline_s: of a job's steps; see `deadline_after`.
    """

    root: Path
    federation: Federation
    api_url: str
    names: tuple[str, ...] = NAMES
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    deadline_s: float = _SHORTEST_DEADLINE_S

    @property
    def exchange(self) -> Path:
        return self.root / "exchange"

    def home(self, name: str) -> Home:
        return Home(self.root / name)

    def enrol(self, name: str) -> None:
        data = self.root / name / "data"
        data.mkdir(parents=True)
        pd.read_parquet(self.federation.client_file(name)).to_csv(data / "sales.csv", index=False)
        settings = {
            "name": name,
            "prefect_api_url": self.api_url,
            "exchange": self.exchange.as_uri(),
            "source": {"folder": str(data)},
        }
        (self.home(name).root / "silo.yaml").write_text(yaml.safe_dump(settings))
        TrustStore(self.federation.home).trust(name, make_key(self.home(name)).public)

    def start(self, *names: str, program: str = "flows", **environ: str) -> None:
        """Start the silos' workers. Wait until they poll for work.

        Args:
            *names: of the silos.
            program: the module that is run, with the arguments of `python -m flows`.
            **environ: additions to its environment.
        """
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
        began = time.monotonic()
        for name in names:
            # Without this, Python writes its output at once for terminals only.
            own = {"FEDREC_HOME": str(self.home(name).root), "PYTHONUNBUFFERED": "1"}
            with (self.root / f"{name}.log").open("wb") as log:
                self.running[name] = subprocess.Popen(
                    [sys.executable, "-m", program, "silo", "start", "--silo", name],
                    cwd=CHECKOUT,
                    env=kept | own | environ,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        until(lambda: all(self._polls(name) for name in names))
        self.deadline_s = max(self.deadline_s, deadline_after(time.monotonic() - began))

    def _polls(self, name: str) -> bool:
        log = (self.root / f"{name}.log").read_text()
        assert self.running[name].poll() is None, log
        return "started!" in log

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the silo's worker and everything that it has forked."""
        os.killpg(self.running[name].pid, number)

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        self.running.pop(name).wait(20)

    def config(self, **federation: Any) -> TrainingConfig:
        rounds = federation.setdefault("rounds", 3)
        return self.federation.config(
            data={"dir": None, "items": str(self.federation.partition / "items.parquet")},
            federation={"deadline_s": self.deadline_s, **federation},
            evaluation={"every": rounds, "pooling_allowed": False},
            runner={
                "threads": None,
                "kind": "silos",
                "silos": list(self.names),
                "exchange": self.exchange.as_uri(),
                "poll_s": 0.2,
            },
        )

    def hang(self, name: str) -> Hung:
        """Make the silo's next training wait."""
        return hung_training(self.home(name), name)

    def answered(self, name: str, round_: int) -> bool:
        return any((self.exchange / "silos" / name).glob(f"*/answers/{round_:06d}-train/*.safetensors"))

    def run_state(self, name: str, round_: int) -> str:
        """Return the state of the silo's training run of the round in Prefect, or an empty string."""
        run = self._run(name, round_)
        return run.state.type.value if run else ""

    def is_watched(self, name: str, round_: int) -> bool:
        """Return whether Prefect has a heartbeat of the silo's training run and would miss the next one."""
        run = self._run(name, round_)
        heard = {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run.id if run else None}"]},
        }
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.api_url}/events/filter",
            json.dumps({"filter": heard}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return bool(json.load(answer)["events"])

    def call_off(self, name: str, round_: int) -> None:
        """Cancel the silo's training run as a user of Prefect's UI does."""
        from prefect.client.orchestration import get_client
        from prefect.states import Cancelling

        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self._run(name, round_).id, Cancelling())

    def _run(self, name: str, round_: int) -> Any:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowFilter, FlowFilterName
        from prefect.client.schemas.sorting import FlowRunSort

        steps = FlowFilter(name=FlowFilterName(any_=["silo-step"]))
        with get_client(sync_client=True) as client:
            # The newest ones, because the server is the whole session's.
            runs = client.read_flow_runs(
                flow_filter=steps, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=30
            )
        for run in runs:
            # Found by its parameters, because a run gets its name only when it begins.
            asked = run.parameters["order"]
            order = asked["order"]
            mine = order["job"]["job_id"].startswith(self.federation.name)
            if mine and (order["client_id"], asked["step"], order["round"]) == (name, "train", round_):
                return run
        return None

    @contextlib.contextmanager
    def unwatched(self) -> Iterator[None]:
        """Let Prefect's server ignore missing heartbeats of a silo, however long the deadline is."""
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            (watch,) = client.read_automations_by_name(crash_detection(mark_of(_PROJECT)).name)
            client.pause_automation(watch.id)
            try:
                yield
            finally:
                client.resume_automation(watch.id)

    def left(self, name: str, round_: int) -> list[str]:
        """Return what left the silo in the round, according to its egress ledger."""
        entries = EgressLedger(self.home(name)).read_verified().entries
        return [each.body["what"] for each in entries if each.body["round"] == round_]


@contextlib.contextmanager
def deployed(root: Path, federation: Federation) -> Iterator[Silos]:
    """Deploy three enrolled silos in Prefect, with no worker yet. All workers are killed in the end."""
    from prefect.settings import PREFECT_API_URL

    silos = Silos(root / "silos", federation, str(PREFECT_API_URL.value()))
    for name in silos.names:
        silos.enrol(name)
    nothing = root / "prefect.yaml"
    nothing.write_text(yaml.safe_dump({"name": _PROJECT, "deployments": []}))
    deploy = [sys.executable, "-m", "flows", "deploy", "--file", str(nothing), "--api-url", silos.api_url]
    done = subprocess.run(deploy, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    try:
        yield silos
    finally:
        for name in list(silos.running):
            silos.kill(name)


class Meanwhile:
    """Something that happens to silos while the job runs. Its failure fails the test."""

    def __init__(self, steps: Callable[[], None]) -> None:
        self._steps = steps
        self._error: BaseException | None = None
        # Prefect's settings belong to the context.
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._run,))
        self._thread.start()

    def ended(self) -> None:
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            self._steps()
        except BaseException as error:  # noqa: BLE001
            self._error = error


def run(
    silos: Silos | SilosBehindGateway, config: TrainingConfig, hear: Callable[[int], Meanwhile | None]
) -> dict[str, Any]:
    """Run the job and return its result. `hear` is called after every round, before the next one begins."""
    others: list[Meanwhile | None] = []

    def on_event(event: Event) -> None:
        if event.round:
            others.append(hear(event.round))

    with listening(on_event):
        result = silos.federation.run(config)
    for each in others:
        if each:
            each.ended()
    return result


def hangs(
    silos: Silos, name: str, meanwhile: Callable[[], None], afterwards: Callable[[Hung], None]
) -> Callable[[int], Meanwhile | None]:
    """Return a listener for `run` under which a silo's training of round 2 hangs.

    Args:
        silos: the silos, all with workers.
        name: the silo that hangs.
        meanwhile: what happens while the training hangs.
        afterwards: what happens after round 2. It receives the file that the training waits for.
    """
    hung: list[Hung] = []

    def during_round_2() -> None:
        until(hung[0].is_read)
        meanwhile()

    def hear(round_: int) -> Meanwhile | None:
        if round_ == 1:
            hung.append(silos.hang(name))
            return Meanwhile(during_round_2)
        if round_ == 2:
            afterwards(hung[0])
        return None

    return hear
