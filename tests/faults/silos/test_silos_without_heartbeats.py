"""Silos that die within a step, until Prefect misses their heartbeats. Their workers are real processes."""

from __future__ import annotations

import pytest

from tests.faults.real_silos import NAMES, Hung, Meanwhile, Silos, hangs, run
from tests.waiting import until

pytestmark = pytest.mark.timeout(1800)


def test_a_silo_killed_during_training_is_given_up_when_its_heartbeats_stop(silos: Silos) -> None:
    silos.start(*NAMES)

    def kill() -> None:
        until(lambda: silos.is_watched("cedar", 2))
        silos.kill("cedar")

    def restart(hung: Hung) -> None:
        hung.release()
        silos.start("cedar")

    # The round goes on when heartbeats stop, and not only at its deadline.
    config = silos.config(deadline_s=1200)
    result = run(silos, config, hangs(silos, "cedar", kill, restart))
    silos.federation.check(config, result, {2: {"cedar": "training"}})
    assert "Crashed" in result["rounds"][1]["rejected"][0]["reason"]
    assert silos.left("cedar", 2) == []


def test_a_silo_killed_after_training_counts_because_its_answer_was_sent(silos: Silos) -> None:
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
            # It is back before its order for round 3.
            dead[0].ended()
        if round_ == 3:
            until(lambda: silos.run_state("cedar", 2) == "CRASHED")

    config = silos.config(deadline_s=1200)
    result = run(silos, config, hear)
    # Its answer was sent and signed, so it counts although the run that gave it crashed.
    silos.federation.check(config, result, {})
    assert silos.left("cedar", 2) == ["client_update", "train"]
