"""The coordinator is killed (SIGKILL) within a secure sum. The same command continues the same sum."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

import pytest

from tests.faults.conftest import Federation
from tests.faults.driven import driver, end_of

MEMBERS, BEGUN, MASKED = (
    f"tasks.jobs.sum_journal:SumJournal.{each}" for each in ("note_members", "note_begun", "note_masked")
)
PREPARED = "tasks.jobs.sum_journal:SumJournal.note_prepared"
MERGE = "flows.jobs.rounds:merge_sum"

# One job of two rounds: (where a process dies, when, number of the call).
CRASHES = [
    ("members known, not noted", "before", MEMBERS, 1),
    ("members noted, nothing prepared", "after", MEMBERS, 1),
    ("prepared, not noted", "before", PREPARED, 1),
    ("prepared in part", "after", PREPARED, 1),
    ("asked for nothing yet", "after", BEGUN, 1),
    ("masked, not noted", "before", MASKED, 1),
    ("masked, no votes", "after", MASKED, 1),
    ("opened, not merged", "before", MERGE, 1),
    ("merged, not committed", "after", MERGE, 1),
    ("in the evaluation: masked, no votes", "after", MASKED, 2),
    # It first repeats the evaluation.
    ("in round 2: masked, no votes", "after", MASKED, 2),
]


def masked_sums(home: Path) -> dict[str, str]:
    """Return note of the masked summands of a sum -> SHA-256 of the note."""
    notes = home.glob("jobs/*/sums/*-masked.json")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in notes}


@pytest.mark.minutes
@pytest.mark.timeout(900)
def test_a_job_killed_within_its_sums_continues_them(federation: Federation) -> None:
    config = federation.config(federation={"rounds": 2}, privacy={"secure_sum": True})
    kept: dict[str, str] = {}
    with driver(config) as process:
        for what, when, target, call in CRASHES:
            point = {"target": target, "when": when, "call": call, "settled": True}
            assert end_of(process, point) == -signal.SIGKILL, what
            # What was noted before the votes is never changed.
            assert kept.items() <= masked_sums(federation.home.root).items(), what
            kept = masked_sums(federation.home.root)
    assert set(kept) == {
        f"{each}-masked.json" for each in ("train-000001", "evaluate-000001", "train-000002")
    }
    result = federation.run(config)
    federation.check(config, result, {}, states={"CRASHED": len(CRASHES), "COMPLETED": 1})
    assert kept.items() <= masked_sums(federation.home.root).items()
