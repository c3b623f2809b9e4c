"""Coordinators are paused (SIGSTOP) until another takes over their job, and then continued (SIGCONT)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.errors import JobBusy
from tasks.jobs.journal import Journal
from tests.faults.driven import driver, end_of

COMMIT = "tasks.jobs.journal:Journal.commit"
# One job of four rounds: (what is under way, where the process is paused, number of the call). Each process
# takes the job over from its predecessor, which is continued once the new one has paused.
PAUSES = [
    ("round 0 not committed", "before", COMMIT, 1),
    ("trained, not merged", "before", "flows.jobs.rounds:merge_round", 1),
    ("merged, not committed", "before", COMMIT, 1),
    ("committed, not tracked", "after", COMMIT, 1),
    ("about to evaluate a round that others evaluate too", "before", "flows.jobs.rounds:_evaluate", 2),
    ("about to compare", "before", "flows.jobs.conclusion:_compare", 1),
]
IN_A_WRITE = ("about to log the result", "before", "tasks.tracking.run_tracker:Tracker.log_result", 1)


def test_an_overtaken_coordinator_stops_and_has_done_nothing_twice(federation: Any, tmp_path: Path) -> None:
    config = federation.config(federation={"rounds": 4}, runner={"lease_s": 2.0})
    errors = [tmp_path / f"{number}.txt" for number in range(len(PAUSES))]
    with driver(config) as process:

        def wake(sleeper: int, error: Path) -> None:
            assert end_of(process, {"wake": sleeper}) == 1
            assert error.read_text().startswith("LeaseLost: Job ")
            assert "was taken over by another process" in error.read_text()

        sleepers: list[int] = []
        for (_, when, target, call), error in zip(PAUSES, errors, strict=True):
            # Settled, because a process that is paused while it sends is not overtaken.
            point = {"target": target, "when": when, "call": call, "signal": "SIGSTOP", "settled": True}
            point["error"] = str(error)
            sleepers.append(end_of(process, point)["stopped"])
            if len(sleepers) > 1:
                wake(sleepers[-2], errors[len(sleepers) - 2])
        # The last one stops during a write, which no other process may repeat.
        _, when, target, call = IN_A_WRITE
        last = end_of(process, {"target": target, "when": when, "call": call, "signal": "SIGSTOP"})["stopped"]
        with pytest.raises(JobBusy, match="works on job"):
            federation.run(config)
        assert end_of(process, {"wake": last}) == 0
        wake(sleepers[-1], errors[-1])
    (folder,) = {path.parent for path in federation.home.jobs.glob("*/job.json")}
    result = Journal(folder).result()
    assert result is not None
    federation.check(config, result.to_json(), lost={}, states={"COMPLETED": 1, "FAILED": len(PAUSES) + 1})
    assert [record.lease for record in Journal(folder).committed()] == [2, 4, 5, 6, 6]
