"""Secure sums over silos behind a gateway, some of which die: the models are those of plain sums."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Federation
from tests.faults.gateway.killed import point
from tests.faults.gateway_silos import SilosBehindGateway, behind_gateway
from tests.faults.lives import Lives
from tests.faults.real_silos import run
from tests.faults.rosters import deal, introduce, secure
from tests.waiting import until

pytestmark = pytest.mark.timeout(1800)

NAMES = ("ash", "birch", "cedar", "elm")
CLIENT = "tasks.silos.gateway_client:GatewayClient."
# In round 2, because each round of training has one update and one vote.
BEFORE_UPLOAD = point(CLIENT + "send_update", "before", call=2)
BEFORE_VOTE = point(CLIENT + "send_answer", "before", '"agree-', call=2)


@pytest.fixture
def silos(tmp_path: Path, federation: Federation) -> Iterator[SilosBehindGateway]:
    """Return four silos that know each other, of which a sum needs three."""
    deal(federation, tmp_path / "of-four", NAMES)
    with behind_gateway(tmp_path, federation, names=NAMES) as found:
        introduce(found)
        yield found


@pytest.mark.minutes
def test_a_job_of_secure_sums_makes_the_models_of_plain_ones(silos: SilosBehindGateway) -> None:
    silos.start(*NAMES)
    config = secure(silos.config())
    result = run(silos, config, lambda _: None)
    silos.federation.check(config, result, {})


@pytest.mark.parametrize(
    ("where", "lost"),
    [
        pytest.param(
            BEFORE_UPLOAD, {2: {"elm": "deadline"}}, id="before its upload", marks=pytest.mark.minutes
        ),
        pytest.param(BEFORE_VOTE, {}, id="between its upload and its vote"),
    ],
)
def test_a_killed_silo_costs_no_other_its_round(
    silos: SilosBehindGateway, tmp_path: Path, where: dict[str, object], lost: dict[int, dict[str, str]]
) -> None:
    """A silo whose masked update arrived is in the sum, whether or not it votes."""
    silos.start(*NAMES[:3])
    lives = Lives(tmp_path / "lives", [where], returns=False)
    silos.start("elm", lives=lives)

    def hear(round_: int) -> None:
        if round_ == 2:
            assert lives.ends == [-signal.SIGKILL]
            silos.kill("elm")
            silos.start("elm")
            # What was ready when it died is late, and does not count.
            ready = silos.home("elm").root / "gateway" / "ready.json"
            until(lambda: not ready.exists(), what="its late answer")

    config = secure(silos.config())
    result = run(silos, config, hear)
    silos.federation.check(config, result, lost)


@pytest.mark.minutes
@pytest.mark.parametrize("where", [BEFORE_UPLOAD, BEFORE_VOTE], ids=["uploads", "votes"])
def test_two_killed_silos_stop_the_job_which_continues_when_they_are_back(
    silos: SilosBehindGateway, tmp_path: Path, where: dict[str, object]
) -> None:
    silos.start("ash", "birch")
    for name in ("cedar", "elm"):
        silos.start(name, lives=Lives(tmp_path / name, [where], returns=False))
    config = secure(silos.config())
    result = run(silos, config, lambda _: None)
    assert result["status"] == "stopped"
    assert "of 4 members, and needs 3" in result["stop_reason"]
    silos.federation.check(config, result, {}, rounds=1)
    for name in ("cedar", "elm"):
        silos.kill(name)
        silos.start(name)
    result = run(silos, config, lambda _: None)
    silos.federation.check(config, result, {}, states={"COMPLETED": 1, "FAILED": 1})
