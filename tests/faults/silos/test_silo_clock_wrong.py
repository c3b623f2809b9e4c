"""Silos whose clocks are one hour ahead and one hour behind, in one federation."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from tasks.coordinator.egress_witness import SiloWitness, witnessed_answers
from tests.faults.coordinator.test_clock_wrong import faked
from tests.faults.real_silos import NAMES, Hung, Meanwhile, Silos, run
from tests.waiting import until

pytestmark = [pytest.mark.minutes, pytest.mark.timeout(900)]
HOURS = {"ash": 1, "birch": 0, "cedar": -1}
# Prefect's server looks for missing heartbeats every 5 s.
LOOKS_S = 12.0


def heartbeats(silos: Silos) -> dict[str, list[datetime]]:
    """Return the times of the heartbeats of the silos' runs, according to Prefect's server."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName
    from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

    found: dict[str, list[datetime]] = {name: [] for name in NAMES}
    with get_client(sync_client=True) as client:
        for each in client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["silo-step"]))):
            order = each.parameters["order"]["order"]
            if order["job"]["job_id"].startswith(silos.federation.name):
                only = EventFilter(
                    event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
                    resource=EventResourceFilter(id=[f"prefect.flow-run.{each.id}"]),
                )
                found[order["client_id"]] += [
                    event.occurred for event in client.read_events(only, limit=50).events
                ]
    return found


def test_silos_whose_clocks_are_an_hour_ahead_and_behind_take_part_in_every_round(silos: Silos) -> None:
    for name, hours in HOURS.items():
        # Its worker, and all that it forks.
        silos.start(name, **faked(f"{hours:+d}h"))
    hung: list[Hung] = []

    def go_on() -> None:
        # A step that lasts until Prefect's server has looked for its heartbeats.
        for each in hung:
            until(each.is_read)
        time.sleep(LOOKS_S)
        for each in hung:
            each.release()

    def hear(round_: int) -> Meanwhile | None:
        if round_ != 1:
            return None
        hung.extend(silos.hang(name) for name in ("ash", "cedar"))
        return Meanwhile(go_on)

    # No silo may miss it, even on a busy machine.
    config = silos.config(deadline_s=240)
    result = run(silos, config, hear)
    # Every silo's update counts in every round, and the model is the one of right clocks.
    silos.federation.check(config, result, {})
    for name in NAMES:
        for told in witnessed_answers(SiloWitness(silos.federation.home, name).read_verified()):
            # The time of signing is by the silo's clock, the time of keeping by the coordinator's.
            off = datetime.fromisoformat(told.signed_at) - datetime.fromisoformat(told.at)
            assert round(off.total_seconds() / 3600) == HOURS[name]
    for name, times in heartbeats(silos).items():
        assert times, name
        assert all(abs(datetime.now(UTC) - each) < timedelta(minutes=30) for each in times), name
