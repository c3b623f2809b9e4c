"""A silo's agent that is killed (SIGKILL) around each step of an order, and started again at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import Federation
from tests.faults.gateway.killed import check, point
from tests.faults.gateway_silos import behind_gateway
from tests.faults.lives import Lives
from tests.faults.real_silos import run

CLIENT, PERFORM = "tasks.silos.gateway_client:GatewayClient.", "tasks.silos.agent:Agent._performed"
PUT, REMOVE = ("tasks.exchange.store:Exchange." + each for each in ("put", "remove"))
SUBMIT, NOTE_READY = (
    "concurrent.futures.process:ProcessPoolExecutor.submit",
    "tasks.silos.agent:write_atomically",
)
UNLINK = "pathlib:Path.unlink"
# In the process that does the step.
RECORD, KEEP = (
    "tasks.silos.egress_ledger:EgressLedger.record",
    "tasks.silos.guarded_exchange:GuardedExchange.put",
)

ONE_OF_EACH = [
    point(PERFORM, "before"),
    point(PUT, "after", "/models"),
    point(SUBMIT, "after", "train"),
    point(KEEP, "after", "/updates/", step=True),
    point(NOTE_READY, "after"),
    point(CLIENT + "send_update", "after"),
    point(CLIENT + "send_answer", "after"),
]
ALL_OTHERS = [
    point(CLIENT + "next_order", "before"),
    *(point(CLIENT + "fetch", when, "/models/") for when in ("before", "after")),
    *(point(CLIENT + "fetch", when, "/catalog/") for when in ("before", "after")),
    point(PUT, "after", "/catalog"),
    point(SUBMIT, "before", "check"),
    point(CLIENT + "send_answer", "before"),
    point(UNLINK, "before", "ready.json"),
    point(UNLINK, "after", "ready.json"),
    point(RECORD, "before", "/updates/", step=True),
    point(RECORD, "after", "/updates/", step=True),
    point(RECORD, "before", "/answers/", step=True),
    point(RECORD, "after", "/answers/", step=True),
    point(KEEP, "after", "/answers/", step=True),
    point(PERFORM, "after"),
    point(CLIENT + "send_update", "before"),
    point(REMOVE, "before", "/updates/"),
    point(REMOVE, "after", "/updates/"),
]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "points",
    [
        pytest.param(ONE_OF_EACH, id="one-of-each"),
        pytest.param(ALL_OTHERS, id="all-others", marks=pytest.mark.minutes),
    ],
)
def test_an_agent_killed_around_its_steps_costs_no_round(
    points: list[dict[str, object]], tmp_path: Path, federation: Federation
) -> None:
    lives = Lives(tmp_path / "lives", points)
    with behind_gateway(tmp_path, federation) as silos:
        silos.start("ash", "birch")
        silos.start("cedar", lives=lives)
        config = silos.config(deadline_s=300)
        result = run(silos, config, lambda _: None)
        check(silos, config, result, lives)
