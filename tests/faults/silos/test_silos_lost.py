"""Silos that are killed or stopped in the middle of things: real workers, each in processes of its own.

What a test waits for is something that happens; only the coordinator's deadline is a matter of time.
"""

from __future__ import annotations

import signal

import pytest

from tasks.silos.egress_ledger import EgressLedger
from tests.faults.real_silos import NAMES, Hung, Meanwhile, Silos, run
from tests.waiting import until

pytestmark = pytest.mark.timeout(1800)


def test_killed_before_training(silos: Silos) -> None:
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


def test_killed_during_training(silos: Silos) -> None:
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


def test_killed_during_training_and_missed_by_prefect(silos: Silos) -> None:
    silos.start(*NAMES)
    hung: list[Hung] = []

    def kill() -> None:
        until(hung[0].is_read)
        until(lambda: silos.is_watched("cedar", 2))
        silos.kill("cedar")

    def hear(round_: int) -> Meanwhile | None:
        if round_ == 1:
            hung.append(silos.hang("cedar"))
            return Meanwhile(kill)
        if round_ == 2:
            hung[0].release()
            silos.start("cedar")
        return None

    # The round goes on as soon as heartbeats stay away, and not at its deadline.
    config = silos.config(deadline_s=1200)
    result = run(silos, config, hear)
    silos.federation.check(config, result, {2: {"cedar": "training"}})
    assert "Crashed" in result["rounds"][1]["rejected"][0]["reason"]
    assert silos.left("cedar", 2) == []


def test_called_off_in_prefect(silos: Silos) -> None:
    silos.start(*NAMES)
    hung: list[Hung] = []

    def call_off() -> None:
        until(hung[0].is_read)
        silos.call_off("cedar", 2)

    def hear(round_: int) -> Meanwhile | None:
        if round_ == 1:
            hung.append(silos.hang("cedar"))
            return Meanwhile(call_off)
        if round_ == 2:
            # The process that worked on it is gone, and the worker goes on.
            assert not hung[0].is_read()
            hung[0].release()
        return None

    config = silos.config(deadline_s=1200)
    with silos.unwatched():
        result = run(silos, config, hear)
    silos.federation.check(config, result, {2: {"cedar": "training"}})
    assert "Cancelled: It was cancelled in Prefect." in result["rounds"][1]["rejected"][0]["reason"]
    assert silos.left("cedar", 2) == []


def test_killed_after_training(silos: Silos) -> None:
    silos.start("ash", "birch")
    silos.start("cedar", program="tests.faults.dying_silo")
    dead: list[Meanwhile] = []

    def back_once_dead(state: Hung) -> None:
        until(state.is_read)
        until(lambda: silos.is_watched("cedar", 2))
        state.release()
        silos.running["cedar"].wait()
        silos.start("cedar")

    def hear(round_: int) -> None:
        if round_ == 1:
            state = silos.hang("cedar")
            dead.append(Meanwhile(lambda: back_once_dead(state)))
        if round_ == 2:
            # Back before it is asked for round 3.
            dead[0].ended()
        if round_ == 3:
            until(lambda: silos.run_state("cedar", 2) == "CRASHED")

    config = silos.config(deadline_s=1200)
    result = run(silos, config, hear)
    # Its answer was out and is signed: it counts, whatever became of the run that gave it.
    silos.federation.check(config, result, {})
    assert silos.left("cedar", 2) == ["client_update", "train"]


def test_stopped_past_the_deadline_and_its_late_update(silos: Silos) -> None:
    silos.start(*NAMES)
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
    with silos.unwatched():
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
