"""A promotion that waits for a person, resumed as in Prefect's UI: through the API, with the form."""

from __future__ import annotations

import threading
import time
from typing import Any
from uuid import UUID

import pytest

from tasks.promotion import ledger

pytestmark = pytest.mark.usefixtures("prefect_server")


class Waiting:
    """A promotion with approval, in a thread of its own."""

    def __init__(self, **parameters: Any) -> None:
        from flows.promote import promotion

        self.outcome: Any = None
        self.failure: Exception | None = None

        def run() -> None:
            try:
                self.outcome = promotion(
                    require_approval=True, actor="schedule", reason="weekly", **parameters
                )
            except Exception as error:  # noqa: BLE001
                self.failure = error

        # Other tests' flow runs are on the same server.
        self.earlier = {run.id for run in self._runs()}
        self.thread = threading.Thread(target=run)
        self.thread.start()

    def paused(self) -> Any:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            for run in self._runs():
                if run.id not in self.earlier and run.state is not None and run.state.name == "Paused":
                    return run
            time.sleep(0.2)
        raise AssertionError("the promotion did not pause")

    def resume(self, flow_run_id: UUID, **form: Any) -> Any:
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            return client.resume_flow_run(flow_run_id, run_input=form)

    def ended(self) -> Any:
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.outcome

    @staticmethod
    def _runs() -> list[Any]:
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            return client.read_flow_runs()


def test_no_version_becomes_champion_before_a_person_approves(world, evaluated):
    world.register(1, evaluated(0.30))
    waiting = Waiting()

    run = waiting.paused()
    assert world.aliases() == {}
    # Others may decide meanwhile.
    with ledger.locked(world.home, timeout_s=1.0):
        assert ledger.read(world.home).entries == []
    keyset = run.state.state_details.run_input_keyset
    assert {"description", "schema"} <= set(keyset)

    # The form has types: values that do not fit are refused, and the run keeps waiting.
    refused = waiting.resume(run.id, approve=True)
    assert "approver" in str(refused.details)
    waiting.resume(run.id, approve=True, approver="ada", note="looks right")
    outcome = waiting.ended()

    assert outcome["promoted"] is True
    assert (outcome["actor"], outcome["reason"]) == ("ada", "looks right")
    assert outcome["verdicts"][-1] == {
        "gate": "approval",
        "passed": True,
        "observed": "approved by ada: looks right",
        "required": "a person's approval in Prefect's UI",
    }
    assert world.aliases() == {"champion": 1}
    assert ledger.read(world.home).entries[0].body["actor"] == "ada"


def test_a_refusal_by_a_person_is_a_decision_with_their_name(world, evaluated):
    world.register(1, evaluated(0.30))
    waiting = Waiting()

    waiting.resume(waiting.paused().id, approve=False, approver="bob", note="")
    state = waiting.ended()

    assert world.aliases() == {}
    [entry] = ledger.read(world.home).entries
    assert (entry.body["accepted"], entry.body["actor"], entry.body["reason"]) == (False, "bob", "weekly")
    assert [one["gate"] for one in entry.body["verdicts"] if not one["passed"]] == ["approval"]
    assert state["promoted"] is False


def test_a_version_that_a_gate_refused_needs_no_approval(world):
    world.register(1, None)
    waiting = Waiting(version=1)

    outcome = waiting.ended()

    assert outcome["actor"] == "schedule"
    assert "approval" not in [verdict["gate"] for verdict in outcome["verdicts"]]
    assert ledger.read(world.home).entries[0].body["accepted"] is False


def test_no_answer_in_time_is_a_refusal(world, evaluated):
    world.register(1, evaluated(0.30))
    waiting = Waiting(approval_hours=3 / 3600)

    waiting.ended()

    # Prefect calls a run Failed if nobody resumes it. The ledger has the decision all the same.
    assert "never resumed" in str(waiting.failure)
    [entry] = ledger.read(world.home).entries
    assert (entry.body["accepted"], entry.body["actor"]) == (False, "schedule")
    assert entry.body["verdicts"][-1]["observed"] == "no decision within 0.000833333 h"
    assert world.aliases() == {}
