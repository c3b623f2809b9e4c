"""What the jobs of a home are doing."""

from __future__ import annotations

import os
from dataclasses import replace

from tasks.jobs.journal import held
from tasks.jobs.outbox import outbox_of
from tasks.jobs.overview import job_states
from tasks.local.home import Home
from tasks.messages.outbox_messages import BreachMessage
from tests.worlds.records import CONFIG, job_result, opening, round_record

OPENING = opening(config={**CONFIG, "federation": {"rounds": 30}})


def opened_at(home: Home, job_id: str, second: int) -> None:
    os.utime(home.jobs / job_id / "job.json", (second, second))


def test_a_job_is_running_while_it_is_held_and_interrupted_afterwards(home):
    place = Home(home)
    with held(place.jobs, "films", "a" * 64, OPENING) as journal:
        for round_ in range(3):
            journal.commit(round_record(round_))
        [state] = job_states(place, 10)
        assert (state.job_id, state.state, state.round) == ("films-aaaaaaaa-1", "running", 2)
        assert (state.rounds, state.opened_at) == (30, "2026-11-20T09:00:00.000+00:00")
        outbox_of(journal).put(BreachMessage(round=1, subject="round-1", text="{}"))
    [state] = job_states(place, 10)
    assert (state.state, state.waiting) == ("interrupted", 1)


def test_the_newest_jobs_come_first_with_their_ends(home):
    place = Home(home)
    for second, (key, status) in enumerate([("a", "finished"), ("b", "stopped"), ("c", None)], start=1):
        with held(place.jobs, "films", key * 64, OPENING) as journal:
            if status:
                journal.conclude(replace(job_result(), status=status))
        opened_at(place, journal.job_id, second)
    broken = place.jobs / "films-dddddddd-1"
    broken.mkdir()
    (broken / "job.json").write_text("no JSON")
    opened_at(place, broken.name, 4)

    assert [(each.job_id[6:7], each.state) for each in job_states(place, 10)] == [
        ("d", "damaged"),
        ("c", "interrupted"),
        ("b", "stopped"),
        ("a", "finished"),
    ]
    assert [each.state for each in job_states(place, 1)] == ["damaged"]
    assert job_states(Home(home / "other"), 10) == []
