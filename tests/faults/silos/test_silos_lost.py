"""Silos that are killed or stopped in the middle of a step. Their workers are real processes.

A test waits for events. Only the coordinator's deadline is a matter of time.
"""

from __future__ import annotations

import signal

import pytest

from tasks.silos.egress_ledger import EgressLedger
from tests.faults.real_silos import NAMES, Hung, Meanwhile, Silos, hangs, run
from tests.waiting import until

pytestmark = pytest.mark.timeout(1800)


def test_a_silo_killed_before_training_misses_that_round(silos: Silos) -> None:
    silos.start(*NAMES)

    def hear(round_: int) -> None:
        if round_ == 1:
            silos.kill("cedar")
        if round_ == 2:
            assert silos.run_state("cedar", 2) == "CANCELLED"
            silos.start("cedar")

    config = silos.config()
    result = run(silos, config, hear)
    silos.federation.check(config, result, {2: {"cedar": "deadline"}})
    assert "did not begin" in result["rounds"][1]["rejected"][0]["reason"]
    assert [each["client_id"] for each in result["clients"]] == list(NAMES)
    assert silos.left("cedar", 2) == []


def test_a_silo_killed_during_training_misses_the_deadline(silos: Silos) -> None:
    silos.start(*NAMES)

    def hear(round_: int) -> Meanwhile | None:
        if round_ != 1:
            return None
        state = silos.hang("cedar")

        def kill() -> None:
            until(state.is_read)
            silos.kill("cedar")

        return Meanwhile(kill)

    config = silos.config()
    with silos.unwatched():
        result = run(silos, config, hear)
    silos.federation.check(config, result, {2: {"cedar": "deadline"}, 3: {"cedar": "deadline"}})
    assert silos.left("cedar", 2) == []
    assert [each["client_id"] for each in result["clients"]] == ["ash", "birch"]


def test_a_training_cancelled_in_prefect_costs_the_silo_its_round(silos: Silos) -> None:
    silos.start(*NAMES)

    def release(hung: Hung) -> None:
        # The process that worked on it is gone, and the worker goes on.
        assert not hung.is_read()
        hung.release()

    config = silos.config(deadline_s=1200)
    with silos.unwatched():
        result = run(silos, config, hangs(silos, "cedar", lambda: silos.call_off("cedar", 2), release))
    silos.federation.check(config, result, {2: {"cedar": "training"}})
    assert "Cancelled: It was cancelled in Prefect." in result["rounds"][1]["rejected"][0]["reason"]
    assert silos.left("cedar", 2) == []


def test_a_late_update_is_recorded_and_changes_no_model(silos: Silos) -> None:
    silos.start(*NAMES)

    def go_on(hung: Hung) -> None:
        hung.release()
        silos.signal("cedar", signal.SIGCONT)
        until(lambda: silos.run_state("cedar", 2) == "COMPLETED")

    config = silos.config()
    with silos.unwatched():
        result = run(
            silos, config, hangs(silos, "cedar", lambda: silos.signal("cedar", signal.SIGSTOP), go_on)
        )
    # Its update of round 2 is in the exchange before round 3 begins, signed and whole, and in no model.
    assert silos.answered("cedar", 2)
    assert silos.left("cedar", 2) == ["client_update", "train"]
    silos.federation.check(config, result, {2: {"cedar": "deadline"}})
    # The coordinator has recorded it.
    (late,) = result["late"]
    assert (late["round"], late["client_id"], late["stage"]) == (2, "cedar", "late")
    entries = EgressLedger(silos.home("cedar")).read_verified().entries
    sent = {each.body["what"]: each.body["sha256"] for each in entries if each.body["round"] == 2}
    assert late["sha256"] == sent["client_update"]
    assert late["answer_sha256"] == sent["train"]
    assert late["seconds_late"] > 0
