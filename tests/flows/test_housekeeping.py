"""Housekeeping on a real home: dead runs are ended, and files that nothing needs are removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.coordinator.housekeeping import clear_silo_parts
from tasks.exchange.layout import model_steps_folder, silo_answers_folder
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.jobs.journal import Journal, held
from tasks.jobs.lease import take
from tasks.local.environment import settings
from tasks.local.home import Home
from tasks.messages.outbox_messages import LineageMessage
from tasks.messages.round_record import START_TRACKED
from tasks.tracking import registry
from tasks.tracking.outbox_sender import OutboxSender
from tests.servers.free_port import free_port
from tests.worlds.records import evaluated_round, job_result, opening, round_record

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def place(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    for name, value in settings(Home(home)).items():
        monkeypatch.setenv(name, value)
    (home / "mlflow").mkdir(parents=True)
    yield Home(home)


def finished_job(place: Home, name: str, day: int, untracked: int | None = None) -> list[ArtifactRef]:
    """Return the models in the exchange of a finished job of rounds 0 to 2 with a report."""
    exchange = Exchange(place.exchange.as_uri())
    models = []
    opened = opening(opened_at=f"2026-11-{day:02d}T00:00:00+00:00")
    with held(place.jobs, name, "k" * 8, opened) as journal:
        for round_ in range(3):
            ref = exchange.put(f"{journal.job_id}/models", f"{name} {round_}".encode())
            models.append(ref)
            where = {"model_path": ref.path, "model_sha256": ref.sha256, "model_bytes": ref.size}
            journal.commit(round_record(round_, job_id=journal.job_id, **where))
            if round_ != untracked:
                journal.note_tracked(round_, START_TRACKED)
        (journal.folder / "report").mkdir()
        (journal.folder / "report" / "report.html").write_text("<p>report</p>")
        journal.conclude(job_result())
    return models


def kept(place: Home, models: list[ArtifactRef]) -> list[bool]:
    return [(place.exchange / model.path).exists() for model in models]


def serve(place: Home, model: ArtifactRef) -> None:
    """Make the model the champion."""
    client = registry.client(place)
    registry.ensure_registered_model(client, "movies")
    record = evaluated_round(1, model_sha256=model.sha256)
    run = client.create_run(client.create_experiment("movies", artifact_location="file:///nowhere"))
    version = registry.register_round(client, "movies", run.info.run_id, "file:///nowhere", record)
    client.set_registered_model_alias("movies", "champion", str(version))
    client.set_terminated(run.info.run_id)


def test_of_finished_jobs_the_needed_files_are_kept(place: Home) -> None:
    from flows.housekeeping import housekeeping

    old = finished_job(place, "old", day=1)
    middle = finished_job(place, "middle", day=2, untracked=1)
    # Its report is newer although its name sorts first.
    new = finished_job(place, "a-new", day=3)
    serve(place, old[0])
    with held(place.jobs, "stopped", "k" * 8, opening(opened_at="2026-10-01")) as journal:
        (journal.folder / "report").mkdir()
        journal.conclude(job_result(status="stopped"))

    exchange = Exchange(place.exchange.as_uri())
    sums = [exchange.put(model_steps_folder(f"{each}-kkkkkkkk-1"), b"a sum") for each in ("old", "stopped")]

    outcome = housekeeping(keep_jobs=1)

    assert [(place.exchange / each.path).exists() for each in sums] == [False, True]
    # The champion, the last models, and one that MLflow does not have yet.
    assert kept(place, old) == [True, False, True]
    assert kept(place, middle) == [False, True, True]
    assert kept(place, new) == [False, False, True]
    assert outcome["models_removed"] == 4
    assert outcome["reports_removed"] == ["old-kkkkkkkk-1", "middle-kkkkkkkk-1"]
    reports = {path.parent.name for path in place.jobs.glob("*/report")}
    assert reports == {"a-new-kkkkkkkk-1", "stopped-kkkkkkkk-1"}
    assert len(Journal(place.jobs / "old-kkkkkkkk-1").committed()) == 3

    again = housekeeping(keep_jobs=1)
    assert (again["models_removed"], again["reports_removed"]) == (0, [])


def test_answers_of_old_jobs_behind_the_gateway_are_removed(place: Home) -> None:
    exchange = Exchange(place.exchange.as_uri())
    journals = []
    for number, kind in enumerate(("gateway", "silos", "gateway")):
        runner = {"kind": kind, "silos": ["ash", "birch"], "exchange": None}
        first = opening(opened_at=f"2026-10-0{number + 1}")
        changed = replace(first, config={**first.config, "runner": runner})
        with held(place.jobs, f"job{number}", "k" * 8, changed) as journal:
            exchange.put(silo_answers_folder("ash", journal.job_id, 1, "train"), b"an answer")
            journals.append(journal)
    left = lambda: sorted(path.name for path in (place.exchange / "silos" / "ash").iterdir())  # noqa: E731

    assert clear_silo_parts(place, journals, 1) == [journals[0].job_id]
    assert left() == sorted(each.job_id for each in journals[1:])
    assert clear_silo_parts(place, journals, 1) == []
    assert clear_silo_parts(place, journals, 0) == [journals[2].job_id]
    assert left() == [journals[1].job_id]


def test_dead_runs_are_ended_and_living_ones_continue(place: Home) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Completed, Running

    from flows.housekeeping import housekeeping
    from flows.promote import promotion

    client = registry.client(place)
    experiment = client.create_experiment("x", artifact_location="file:///nowhere")
    runs = {}
    for job_id in ("dead-1", "alive-1", "elsewhere-1"):
        runs[job_id] = client.create_run(experiment, tags={"fedrec.job": job_id}).info.run_id
    (place.jobs / "dead-1").mkdir(parents=True)
    (place.jobs / "alive-1").mkdir()
    with get_client(sync_client=True) as prefect:
        flow_run = prefect.create_flow_run(promotion)
        prefect.set_flow_run_state(flow_run.id, Running())
        notes = place.prefect / "flow_runs"
        notes.mkdir(parents=True)
        # This one ended before its process did, whose note stayed.
        done = prefect.create_flow_run(promotion)
        prefect.set_flow_run_state(done.id, Completed(), force=True)
        servers = place.prefect / "servers"
        servers.mkdir()
        # No process of this number began at that time.
        for note in (notes / f"{flow_run.id}.json", notes / f"{done.id}.json", servers / "1.json"):
            note.write_text(json.dumps({"pid": 1, "created": 0.0}))

        alive = take(place.jobs / "alive-1")
        outcome = housekeeping()
        alive.release()

        assert prefect.read_flow_run(flow_run.id).state.name == "Crashed"
        assert prefect.read_flow_run(done.id).state.name == "Completed"
    assert [*notes.glob("*.json"), *servers.glob("*.json")] == []
    assert outcome["ended_servers"] == []
    assert outcome["killed_jobs"] == ["dead-1"]
    assert outcome["crashed_flow_runs"] == [str(flow_run.id)]
    status = {job_id: client.get_run(run_id).info.status for job_id, run_id in runs.items()}
    assert status == {"dead-1": "KILLED", "alive-1": "RUNNING", "elsewhere-1": "RUNNING"}


def test_the_records_of_a_dead_job_are_sent(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow was away when the job was opened, and its process has ended since."""
    from flows.housekeeping import housekeeping

    items = place.root / "items.parquet"
    items.write_bytes(b"items")
    with held(place.jobs, "films", "k" * 8, opening()) as journal, monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
        journal.commit(round_record(0))
        sender = OutboxSender(place, journal, Exchange(place.exchange.as_uri()))
        sender.open(journal.opening.config, items)
        sender.put(LineageMessage(data={"ash": ("a" * 64, "file:///ash")}))
        assert not sender.send_waiting()
        assert (sender.run_id, sender.outbox.count()) == (None, 2)
        assert sender.silence
    items.unlink()

    alive = take(journal.folder)
    assert housekeeping()["told_late"] == []
    alive.release()
    assert housekeeping()["told_late"] == [journal.job_id]
    assert housekeeping()["told_late"] == []
    client = registry.client(place)
    experiment = client.get_experiment_by_name("films")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"
    assert run.data.params["model_name"] == "movies"
    assert [each.dataset.name for each in run.inputs.dataset_inputs] == ["ash"]
    assert Path(client.download_artifacts(run.info.run_id, "catalog/items.parquet")).read_bytes() == b"items"
    # No process holds its lease.
    take(journal.folder).release()


def test_an_empty_home_needs_no_housekeeping(place: Home) -> None:
    from flows.housekeeping import housekeeping

    assert housekeeping() == {
        "told_late": [],
        "refused": [],
        "damaged": [],
        "killed_jobs": [],
        "crashed_flow_runs": [],
        "ended_servers": [],
        "models_removed": 0,
        "answers_removed": [],
        "reports_removed": [],
        "rounds_removed": {},
    }
