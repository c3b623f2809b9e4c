"""A gateway that is killed (SIGKILL) around each step of an order, an upload, an answer and a failure.

A service manager starts it again at once. The evaluation may not leave the silo cedar, so its orders to
evaluate fail.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.faults.conftest import Federation
from tests.faults.gateway.killed import check, point
from tests.faults.gateway_silos import behind_gateway
from tests.faults.lives import Lives
from tests.faults.real_silos import NAMES, run

ADMIT = "tasks.gateway.visits:Visits.enter"
HAND_OUT, END = ("tasks.gateway.order_book:OrderBook." + each for each in ("note_fetched", "end"))
# What the silo did last, and the line of the record of access.
NOTE, RECORD = "tasks.gateway.api.notes:Notes._keep_all", "tasks.local.chained_file:ChainedFile.append_all"
GET, PUT = ("tasks.exchange.store:Exchange." + each for each in ("get", "put"))
# The object is written, and has not got its name.
RENAME = "os:replace"
FORGET, LOG = "tasks.gateway.api.intake:forget_earlier_updates", "tasks.web.json_log:write"

# With the third call the silos get on between two deaths. An agent that fails again and again waits longer.
ONE_OF_EACH = [
    point(HAND_OUT, "after"),
    point(NOTE, "after", "fetched object"),
    point(PUT, "after", "/answers/"),
    point(NOTE, "before", "fetched order", call=3),
    point(PUT, "after", "/updates/"),
    point(END, "after", "answered", call=3),
    point(END, "after", "failed"),
]
ALL_OTHERS = [
    point(HAND_OUT, "before"),
    point(GET, "before"),
    point(PUT, "before", "/answers/"),
    point(RECORD, "before", "fetched order", call=3),
    point(GET, "after"),
    point(PUT, "before", "/updates/"),
    point(END, "before", "answered", call=3),
    point(NOTE, "before", "fetched object"),
    point(FORGET, "before", call=3),
    point(NOTE, "before", "answered order"),
    point(RECORD, "after", "fetched order", call=3),
    point(RECORD, "after", "fetched object"),
    point(FORGET, "after", call=3),
    point(RECORD, "before", "answered order"),
    # The answer to the silo is not on its way yet.
    point(NOTE, "after", "fetched order", call=3),
    point(NOTE, "after", "sent an update"),
    point(NOTE, "after", "answered order", call=3),
    point(ADMIT, "before"),
    point(NOTE, "before", "sent an update", call=3),
    point(ADMIT, "after"),
    point(RENAME, "before", "/updates/", call=3),
    point(RENAME, "before", "/answers/"),
    # The silo has the answer.
    point(LOG, "before", "/updates/", call=3),
    point(LOG, "before", "/answer"),
    point(END, "before", "failed"),
    point(NOTE, "after", "could not do"),
]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("points", "rounds"),
    [
        pytest.param(ONE_OF_EACH, 3, id="one-of-each"),
        pytest.param(ALL_OTHERS, 16, id="all-others", marks=pytest.mark.minutes),
    ],
)
def test_a_gateway_killed_around_its_steps_costs_no_round(
    points: list[dict[str, object]], rounds: int, tmp_path: Path, federation: Federation
) -> None:
    lives = Lives(tmp_path / "lives", points)
    with behind_gateway(tmp_path, federation, lives=lives) as silos:
        settings = silos.home("cedar").root / "silo.yaml"
        held_back = {"policy": {"may_leave": ["check", "update"]}}
        settings.write_text(yaml.safe_dump(yaml.safe_load(settings.read_text()) | held_back))
        silos.start(*NAMES)
        config = silos.config(deadline_s=300, rounds=rounds)
        result = run(silos, config, lambda _: None)
        check(silos, config, result, lives)
        for name in NAMES:
            assert "two places" not in (silos.root / f"{name}.log").read_text()
