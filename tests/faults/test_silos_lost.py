"""Silos that are killed or stopped in the middle of things: real workers, each in processes of its own."""

from __future__ import annotations

import contextlib
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from flows.config import TrainingConfig
from flows.progress import Event, listening
from tasks.egress import EgressLedger
from tasks.home import Home
from tasks.keys import make_key
from tasks.trust_store import TrustStore
from tests.faults.conftest import Federation

NAMES = ("ash", "birch", "cedar")
# Long enough for a busy machine, because whoever misses it is left out.
DEADLINE_S = 40
pytestmark = pytest.mark.timeout(600)


def until(happened: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What `happened` returns once it is true."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if found := happened():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


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
        """Whether somebody waits for it; who does so waits on."""
        with contextlib.suppress(OSError):
            self.writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        return self.writer is not None

    def release(self) -> None:
        """The file is there again, also for who waits."""
        assert self.writer is not None
        self.path.unlink()
        self.path.write_bytes(self.content)
        os.write(self.writer, self.content)
        os.close(self.writer)


@dataclass
class Silos:
    """Three silos beside their own data, each with a worker in a process group of its own."""

    root: Path
    federation: Federation
    api_url: str
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

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

    def start(self, name: str) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
        with (self.root / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "flows", "silo", "start", "--silo", name],
                env=kept | {"FEDREC_HOME": str(self.home(name).root)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        """To the silo's worker and everything that it has forked."""
        os.killpg(self.running[name].pid, number)

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        self.running.pop(name).wait(20)

    def config(self, **federation: Any) -> TrainingConfig:
        return self.federation.config(
            data={"dir": None, "items": str(self.federation.partition / "items.parquet")},
            federation={"rounds": 3, "deadline_s": DEADLINE_S, **federation},
            evaluation={"every": 3, "pooling_allowed": False},
            runner={
                "threads": None,
                "kind": "silos",
                "silos": list(NAMES),
                "exchange": self.exchange.as_uri(),
                "poll_s": 0.2,
            },
        )

    def hang(self, name: str) -> Hung:
        """The silo's next training waits while it reads its users' state, the one there is now."""
        (job,) = (self.home(name).silos / name / "state").iterdir()
        (state,) = job.iterdir()
        return Hung(state)

    def answered(self, name: str, round_: int) -> bool:
        return any((self.exchange / "silos" / name).glob(f"*/answers/{round_:06d}-train/*.safetensors"))

    def run_state(self, name: str, round_: int) -> str:
        """Of the silo's training run of the round in Prefect; empty where there is none."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowFilter, FlowFilterName

        # By its parameters, because a run has its name only once it has begun.
        with get_client(sync_client=True) as client:
            for run in client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["silo-step"]))):
                asked = run.parameters["asked"]
                order = asked["order"]
                mine = order["job"]["job_id"].startswith(self.federation.name)
                if mine and (order["client_id"], asked["step"], order["round"]) == (name, "train", round_):
                    return run.state.type.value if run.state else ""
        return ""

    def left(self, name: str, round_: int) -> list[str]:
        """What the silo's ledger says has left it in the round."""
        entries = EgressLedger(self.home(name)).read_verified().entries
        return [each.body["what"] for each in entries if each.body["round"] == round_]


@pytest.fixture
def silos(federation: Federation, tmp_path: Path) -> Iterator[Silos]:
    from prefect.settings import PREFECT_API_URL

    here = Silos(tmp_path / "silos", federation, str(PREFECT_API_URL.value()))
    for name in NAMES:
        here.enrol(name)
    nothing = tmp_path / "prefect.yaml"
    nothing.write_text(yaml.safe_dump({"name": "faults", "deployments": []}))
    deploy = [sys.executable, "-m", "flows", "deploy", "--file", str(nothing), "--api-url", here.api_url]
    done = subprocess.run(deploy, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    try:
        for name in NAMES:
            here.start(name)
        until(lambda: all("started!" in (here.root / f"{name}.log").read_text() for name in NAMES))
        yield here
    finally:
        for name in list(here.running):
            here.kill(name)


class Meanwhile:
    """Something that happens to silos while the job goes on; its failure is the test's."""

    def __init__(self, steps: Callable[[], None]) -> None:
        self._steps = steps
        self._error: BaseException | None = None
        # Prefect's settings are those of the context.
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._run,))
        self._thread.start()

    def ended(self) -> None:
        self._thread.join(200)
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            self._steps()
        except BaseException as error:  # noqa: BLE001
            self._error = error


def run(silos: Silos, config: TrainingConfig, hear: Callable[[int], Meanwhile | None]) -> dict[str, Any]:
    """The job's result; `hear` is told of every round that is over, before the next one begins."""
    others: list[Meanwhile | None] = []

    def told(event: Event) -> None:
        if event.round:
            others.append(hear(event.round))

    with listening(told):
        result = silos.federation.run(config)
    for each in others:
        if each:
            each.ended()
    return result


def test_killed_before_training(silos: Silos) -> None:
    def back_when_its_order_is_called_off() -> None:
        until(lambda: silos.run_state("cedar", 2) == "CANCELLED")
        silos.start("cedar")

    def hear(round_: int) -> Meanwhile | None:
        if round_ != 1:
            return None
        silos.kill("cedar")
        return Meanwhile(back_when_its_order_is_called_off)

    config = silos.config()
    result = run(silos, config, hear)
    silos.federation.check(config, result, {2: {"cedar": "deadline"}})
    assert "did not begin" in result["rounds"][1]["rejected"][0]["reason"]
    assert [each["client_id"] for each in result["clients"]] == list(NAMES)
    assert silos.left("cedar", 2) == []


def test_killed_during_training(silos: Silos) -> None:
    def hear(round_: int) -> Meanwhile | None:
        if round_ != 1:
            return None
        state = silos.hang("cedar")

        def kill() -> None:
            until(state.is_read)
            silos.kill("cedar")

        return Meanwhile(kill)

    config = silos.config()
    result = run(silos, config, hear)
    # Prefect's server learns of its end from missing heartbeats, which takes longer than these rounds.
    silos.federation.check(config, result, {2: {"cedar": "deadline"}, 3: {"cedar": "deadline"}})
    assert silos.left("cedar", 2) == []
    assert [each["client_id"] for each in result["clients"]] == ["ash", "birch"]


def test_killed_after_training(silos: Silos) -> None:
    def kill() -> None:
        until(lambda: silos.answered("cedar", 2))
        silos.kill("cedar")
        silos.start("cedar")

    config = silos.config()
    result = run(silos, config, lambda round_: Meanwhile(kill) if round_ == 1 else None)
    # Its answer was out and is signed: it counts, whatever became of the run that gave it.
    silos.federation.check(config, result, {})
    assert silos.left("cedar", 2) == ["client_update", "train"]


def test_stopped_past_the_deadline_and_its_late_update(silos: Silos) -> None:
    hung: list[Hung] = []

    def stop() -> None:
        until(hung[0].is_read)
        silos.signal("cedar", signal.SIGSTOP)

    def hear(round_: int) -> Meanwhile | None:
        if round_ == 1:
            hung.append(silos.hang("cedar"))
            return Meanwhile(stop)
        if round_ == 2:
            hung[0].release()
            silos.signal("cedar", signal.SIGCONT)
            until(lambda: silos.run_state("cedar", 2) == "COMPLETED")
        return None

    config = silos.config()
    result = run(silos, config, hear)
    # Its update of round 2 is in the exchange before round 3 begins, signed and whole, and in no model.
    assert silos.answered("cedar", 2)
    assert silos.left("cedar", 2) == ["client_update", "train"]
    silos.federation.check(config, result, {2: {"cedar": "deadline"}})
    # The coordinator has it on record.
    (late,) = result["late"]
    assert (late["round"], late["client_id"], late["stage"]) == (2, "cedar", "late")
    entries = EgressLedger(silos.home("cedar")).read_verified().entries
    sent = {each.body["what"]: each.body["sha256"] for each in entries if each.body["round"] == 2}
    assert late["sha256"] == sent["client_update"]
    assert late["answer_sha256"] == sent["train"]
    assert late["seconds_late"] > 0
