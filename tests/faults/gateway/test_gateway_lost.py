"""A gateway or a silo behind it that is killed in the middle of a job, and a database that is away.

A test waits for events. Only the coordinator's deadline is a matter of time.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Federation
from tests.faults.gateway_silos import SilosBehindGateway, behind_gateway
from tests.faults.real_silos import NAMES, Meanwhile, run
from tests.waiting import until

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def silos(tmp_path: Path, federation: Federation) -> Iterator[SilosBehindGateway]:
    with behind_gateway(tmp_path, federation) as running:
        yield running


def test_silos_behind_the_gateway_give_the_bytes_of_local_clients(silos: SilosBehindGateway) -> None:
    silos.start(*NAMES)
    config = silos.config()
    result = run(silos, config, lambda _: None)
    silos.federation.check(config, result, {})
    assert [each["client_id"] for each in result["clients"]] == list(NAMES)
    # After the first round the silos fetched the sums of rounds, which are smaller than the models.
    first, *others = (each["download_bytes"] for each in result["rounds"])
    assert 0 < max(others) < 0.8 * first
    assert not any("whole model is fetched" in log.read_text() for log in silos.root.glob("*.log"))


def test_a_gateway_that_is_killed_and_started_again_costs_no_round(silos: SilosBehindGateway) -> None:
    silos.start(*NAMES)

    def again() -> None:
        silos.gateway.stop(signal.SIGKILL)
        time.sleep(1.0)
        silos.gateway.start()

    config = silos.config(deadline_s=300)
    # The next round begins while it is away.
    result = run(silos, config, lambda round_: Meanwhile(again) if round_ < 3 else None)
    silos.federation.check(config, result, {})


def test_a_silo_that_is_killed_and_started_again_costs_no_round(silos: SilosBehindGateway) -> None:
    silos.start(*NAMES)

    def again() -> None:
        silos.kill("cedar")
        silos.start("cedar")

    config = silos.config(deadline_s=300)
    result = run(silos, config, lambda round_: Meanwhile(again) if round_ < 3 else None)
    silos.federation.check(config, result, {})


def test_a_silo_that_stays_away_misses_the_deadline(silos: SilosBehindGateway) -> None:
    silos.start(*NAMES)

    def hear(round_: int) -> None:
        if round_ == 1:
            silos.kill("cedar")
        if round_ == 2:
            silos.start("cedar")

    # The others need less, but in the first step each agent also imports what it works with.
    config = silos.config(deadline_s=60)
    result = run(silos, config, hear)
    silos.federation.check(config, result, {2: {"cedar": "deadline"}})
    assert "did not fetch" in result["rounds"][1]["rejected"][0]["reason"]


def test_a_database_that_is_locked_costs_no_round(silos: SilosBehindGateway) -> None:
    silos.start(*NAMES)
    database = silos.gateway.folder / "gateway" / "gateway.db"

    def lock() -> None:
        with sqlite3.connect(database, timeout=30, isolation_level=None) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(8.0)
            connection.execute("COMMIT")

    config = silos.config(deadline_s=300)
    result = run(silos, config, lambda round_: Meanwhile(lock) if round_ == 1 else None)
    silos.federation.check(config, result, {})


def test_two_agents_with_one_key_cost_no_round(silos: SilosBehindGateway) -> None:
    twin = silos.root / "twin"
    shutil.copytree(silos.home("cedar").root, twin)
    silos.start(*NAMES)
    own = {"FEDREC_HOME": str(twin), "PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(Path.cwd())}
    with (silos.root / "twin.log").open("wb") as log:
        silos.running["twin"] = subprocess.Popen(
            [sys.executable, "-m", "flows", "silo", "start"],
            env=own,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until(lambda: b"runs from" in (silos.root / "twin.log").read_bytes(), what="the twin's start")
    config = silos.config(deadline_s=300)
    result = run(silos, config, lambda _: None)
    # Both sign heads of their own ledgers, and one of them may contradict the other.
    lost = {
        each["round"]: {one["client_id"]: one["stage"] for one in each["rejected"]}
        for each in result["rounds"]
        if each["rejected"]
    }
    silos.federation.check(config, result, lost)
    assert all(set(each) == {"cedar"} for each in lost.values())
