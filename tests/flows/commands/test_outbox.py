"""`fedrec outbox` as its users call it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flows.commands.outbox import command
from models.errors import FedrecError
from tasks.jobs.journal import held_alone
from tasks.jobs.outbox import outbox_of
from tasks.local.home import Home
from tasks.tracking.outbox_sender import send_what_waits
from tests.worlds.waiting_jobs import Job, job_with_waiting_messages, refusing

REASON = "it has " + "many words " * 30 + "and an end"


def outbox(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, env={"COLUMNS": "40"})


def answered(*arguments: str, code: int = 0) -> dict[str, Any]:
    done = outbox(*arguments, "--json")
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def bad(mlflow_home: Home) -> Job:
    """Return a job of which MLflow refused round 2 (record 5), which its result (record 6) follows."""
    job = job_with_waiting_messages(mlflow_home, "bad", "movies")
    with refusing("create_model_version", ValueError(REASON), "'fedrec.round': '2'"):
        send_what_waits(mlflow_home)
    return job


def test_nothing_is_listed_where_mlflow_has_everything(mlflow_home: Home) -> None:
    assert outbox("list").output == "No record of a job waits for MLflow, and none was refused.\n"
    assert answered("list") == {"jobs": []}
    assert answered("retry") == {"sent": [], "jobs": []}


def test_refused_and_waiting_records_are_listed_with_their_reasons(bad: Job) -> None:
    outbox_of(bad.journal).put(bad.messages[2])
    text = outbox("list").output
    # No reason is cut off, however narrow the terminal.
    assert f"    5  round 2: ValueError: {REASON[:250]}" in text
    assert "    6  result: It follows record 5.\n" in text
    assert f"Job {bad.journal.job_id}: records that wait until MLflow is available: 1.\n" in text
    (listed,) = answered("list")["jobs"]
    assert (listed["job_id"], listed["waiting"]) == (bad.journal.job_id, 1)
    assert [(each["record"], each["what"], each["follows"]) for each in listed["refused"]] == [
        (5, "round 2", None),
        (6, "result", 5),
    ]
    assert [each["file"] for each in listed["refused"]] == [
        str(each.path) for each in outbox_of(bad.journal).refused()
    ]


def test_records_are_sent_again_or_stay_refused(bad: Job) -> None:
    with refusing("create_model_version", ValueError("no")):
        again = answered("retry", code=1)
    assert again["sent"] == []
    assert [each["reason"] for each in again["jobs"][0]["refused"]] == [
        "ValueError: no",
        "It follows record 5",
    ]
    done = outbox("retry", bad.journal.job_id)
    assert (done.exit_code, done.output) == (0, f"MLflow has all records of job {bad.journal.job_id} now.\n")
    assert bad.rounds() == {1: 1, 2: 2}
    assert answered("list") == {"jobs": []}


def test_records_that_wait_are_sent_too(mlflow_home: Home) -> None:
    job = job_with_waiting_messages(mlflow_home, "waiting", "books")
    assert answered("retry") == {"sent": [job.journal.job_id], "jobs": []}
    assert job.rounds() == {1: 1, 2: 2}


def test_records_are_dropped_one_by_one_or_all(bad: Job) -> None:
    job_id = bad.journal.job_id
    assert answered("drop", job_id, "--record", "5") == {
        "job_id": job_id,
        "dropped": [{"record": 5, "what": "round 2"}],
    }
    done = outbox("drop", job_id)
    assert (done.exit_code, done.output) == (0, f"Dropped of job {job_id}: 6 (result).\n")
    assert answered("list") == {"jobs": []}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("retry", "elsewhere-1"), "lacks no records of a job 'elsewhere-1'"),
        (("drop", "../bad"), r"lacks no records of a job '\.\./bad'"),
        (("drop", "bad-kkkkkkkk-1", "--record", "4"), "refused no record 4 of job bad-kkkkkkkk-1"),
    ],
)
def test_what_is_not_there_is_named(bad: Job, arguments: tuple[str, ...], words: str) -> None:
    done = outbox(*arguments)
    assert isinstance(done.exception, FedrecError)
    with pytest.raises(FedrecError, match=words):
        raise done.exception
    assert [each.number for each in outbox_of(bad.journal).refused()] == [5, 6]


def test_a_busy_job_stops_no_other_one(bad: Job) -> None:
    other = job_with_waiting_messages(bad.home, "other", "books")
    with refusing("log_inputs", ValueError("no")):
        send_what_waits(bad.home)
    with held_alone(bad.journal):
        result = answered("retry", code=1)
    assert result["sent"] == [other.journal.job_id]
    assert [each["job_id"] for each in result["jobs"]] == [bad.journal.job_id]
