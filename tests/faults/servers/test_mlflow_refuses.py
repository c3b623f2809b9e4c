"""MLflow is there and refuses what one job sends. That job ends, and every other one is undisturbed."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from flows.terminal.progress import Event, listening
from models.errors import InvalidConfig
from tasks.jobs.journal import Journal
from tasks.jobs.outbox import outbox_of, outboxes
from tasks.tracking import registry
from tasks.tracking.outbox_sender import send_again
from tests.waiting import until
from tests.worlds.waiting_jobs import job_with_waiting_messages


def test_a_job_whose_experiment_is_deleted_meanwhile_is_told_after_it_is_restored(federation: Any) -> None:
    config = federation.config(federation={"rounds": 4})
    client = registry.client(federation.home)
    said: list[str] = []

    def deleted(event: Event) -> None:
        said.append(event.text)
        if event.round == 2:
            until(lambda: client.search_model_versions("tags.`fedrec.round` = '2'"))
            client.delete_experiment(client.get_experiment_by_name(federation.name).experiment_id)

    with listening(deleted):
        result = federation.run(config)
    assert (result["status"], result["exit_code"]) == ("finished", 0)
    assert [each["version"] for each in result["rounds"]] == [1, 2, None, None]
    first, last = [line for line in said if "set aside" in line]
    assert "(round 3): " in first
    assert "deleted" in first
    assert f"fedrec outbox retry {result['job_id']}" in first
    assert last.startswith("MLflow lacks 3 records of the job")

    client.restore_experiment(client.get_experiment_by_name(federation.name).experiment_id)
    journal = federation.journal(result)
    assert send_again(federation.home, journal)
    assert outboxes(federation.home) == []
    tracked = journal.result().to_json()
    assert [each["version"] for each in tracked["rounds"]] == [1, 2, 3, 4]
    federation.check(config, tracked, lost={})


def test_a_job_does_not_begin_in_a_deleted_experiment(federation: Any) -> None:
    client = registry.client(federation.home)
    place = (federation.home.mlflow / "artifacts").as_uri()
    experiment = client.create_experiment(federation.name, artifact_location=place)
    client.delete_experiment(experiment)
    with pytest.raises(InvalidConfig) as caught:
        federation.run(federation.config())
    assert f"The experiment '{federation.name}' was deleted in MLflow" in str(caught.value)
    assert f"mlflow experiments restore -x {experiment} " in caught.value.next_step
    assert caught.value.exit_code == 2
    assert not list(federation.home.jobs.glob("*"))
    client.restore_experiment(experiment)
    assert federation.run(federation.config(federation={"rounds": 1}))["status"] == "finished"


def test_a_bad_job_stops_no_other_job_of_its_home(federation: Any) -> None:
    """The records of one job are refused, and files of another are damaged, before a third one trains."""
    from flows.housekeeping import housekeeping
    from flows.promote import promotion, rolling_back

    config = federation.config(federation={"rounds": 2})
    refused = job_with_waiting_messages(federation.home, "a-refused", "movies")
    shutil.rmtree(federation.home.exchange / refused.journal.job_id)
    broken = job_with_waiting_messages(federation.home, "broken", "books")
    for name in ("job.json", "result.json", "rounds/000001.json", "outbox/000002.json"):
        (broken.journal.folder / name).write_text("{")
    (federation.home.prefect / "flow_runs").mkdir(parents=True)
    (federation.home.prefect / "flow_runs" / "1b7e2b0e-4c6c-4a0c-9d0c-000000000000.json").write_text("")
    said: list[str] = []
    with listening(lambda event: said.append(event.text)):
        result = federation.run(config)
    assert (result["status"], result["exit_code"]) == ("finished", 0)
    assert [each["version"] for each in result["rounds"]] == [1, 2]
    lines = [line for line in said if "set aside" in line]
    assert [name in line for line, name in zip(lines, ("a-refused", "broken"), strict=True)] == [True, True]

    assert promotion(model_name=federation.name, version=1)["promoted"]
    assert promotion(model_name=federation.name, version=2)["promoted"]
    assert rolling_back(model_name=federation.name)["version"] == 1
    outcome = housekeeping(keep_jobs=0)
    assert (outcome["told_late"], outcome["refused"]) == ([], [])
    assert len(outcome["damaged"]) == 1
    assert str(broken.journal.folder) in outcome["damaged"][0]
    # The reports of the two whole jobs.
    assert sorted(outcome["reports_removed"]) == sorted([refused.journal.job_id, result["job_id"]])
    waiting = [outbox_of(Journal(each.journal.folder)).count() for each in (refused, broken)]
    assert waiting == [0, 0]
