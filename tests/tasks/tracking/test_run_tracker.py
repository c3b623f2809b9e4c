"""MLflow's record of a job, in a real database: complete, and not doubled by a repeated call."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pandas as pd

from models.promotion.evidence import RoundEvaluation
from tasks.datasets.partition_reader import open_partition
from tasks.jobs.journal import held
from tasks.local.home import Home
from tasks.messages.round_record import EvaluatedRound
from tasks.tracking import registry
from tasks.tracking.run_tracker import Tracker, find_run, flattened, git_revision, open_run
from tests.worlds.records import evaluated_round, evaluation, opening


def opened(home: Home, job_id: str = "films-1", run_id: str | None = None) -> Tracker:
    return open_run(home, "films", job_id, "movies", run_id, {"fedrec.data_digest": "d1"})


MODEL = b"model bytes"


EVALUATION = evaluation(ash=(2.0, 4.0), birch=(0.0, 0.0))


def record_of(round_: int, evaluation: RoundEvaluation | None = None) -> EvaluatedRound:
    return evaluated_round(round_, evaluation, model_sha256=hashlib.sha256(MODEL).hexdigest())


def artifact(tracker: Tracker, name: str) -> Path:
    return Path(tracker.client.download_artifacts(tracker.run_id, name))


def history(tracker: Tracker, name: str) -> list[tuple[int, float]]:
    found = tracker.client.get_metric_history(tracker.run_id, name)
    return [(metric.step, metric.value) for metric in found]


def status(tracker: Tracker) -> str:
    return str(tracker.client.get_run(tracker.run_id).info.status)


def test_a_run_opens_with_configuration_lineage_and_catalogue(mlflow_home, partition_dir):
    tracker, partition = opened(mlflow_home), open_partition(partition_dir)
    config = {"name": "films", "train": {"dims": 8, "loss": "warp"}, "data": {"dir": "x" * 900}}
    tracker.log_opening(config, partition.items_path)
    tracker.log_lineage({each.id: (each.sha256, each.path.as_uri()) for each in partition.clients})
    run = tracker.client.get_run(tracker.run_id)
    assert run.data.params == {
        "name": "films",
        "train.dims": "8",
        "train.loss": "warp",
        "data.dir": "x" * 500,
    }
    assert run.data.tags["fedrec.job"] == "films-1"
    assert run.data.tags["fedrec.data_digest"] == "d1"
    assert run.info.run_name == "films-1"
    inputs = {each.dataset.name: each.dataset.digest for each in run.inputs.dataset_inputs}
    assert inputs == {client.id: client.sha256[:32] for client in partition.clients}
    assert "x" * 900 in artifact(tracker, "config.yaml").read_text()
    assert artifact(tracker, "catalog/items.parquet").read_bytes() == partition.items_path.read_bytes()
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(mlflow_home.mlflow)


def test_a_round_is_a_step_with_its_artefacts_and_a_version(mlflow_home):
    tracker = opened(mlflow_home)
    evaluated = record_of(2, EVALUATION)
    versions = [
        tracker.log_round(record, MODEL, metrics, resumed=False)
        for record, metrics in (
            (record_of(1), {"drift": 0.25}),
            (evaluated, {"drift": 0.125, "validation/ndcg@10": 0.5}),
        )
    ]
    assert versions == [1, 2]
    assert history(tracker, "drift") == [(1, 0.25), (2, 0.125)]
    assert history(tracker, "validation/ndcg_at_10") == [(2, 0.5)]
    assert artifact(tracker, "rounds/0001/model.safetensors").read_bytes() == MODEL
    assert json.loads(artifact(tracker, "rounds/0002/round.json").read_text()) == evaluated.to_json()
    table = pd.read_json(artifact(tracker, "clients/round-0002.json"), orient="split")
    assert table["client_id"].tolist() == ["ash", "birch"]
    assert table["cases"].tolist() == [4, 0]
    assert table["ndcg@10"][0] == 0.5
    assert pd.isna(table["ndcg@10"][1])
    assert registry.find_version(tracker.client, "movies", "films-1", 2) == 2


def test_a_repeated_round_doubles_neither_metrics_nor_versions_nor_tables(mlflow_home):
    tracker, record = opened(mlflow_home), record_of(1, EVALUATION)
    metrics = {"drift": 0.25, "validation/ndcg@10": 0.5}
    first = tracker.log_round(record, MODEL, metrics, resumed=False)
    again = opened(mlflow_home, run_id=find_run(mlflow_home, "films", "films-1"))
    assert again.log_round(record, MODEL, metrics, resumed=True) == first
    assert history(again, "drift") == [(1, 0.25)]
    assert len(tracker.client.search_model_versions("name = 'movies'")) == 1
    assert len(pd.read_json(artifact(again, "clients/round-0001.json"), orient="split")) == 2


def test_a_round_interrupted_before_its_version_is_completed_without_doubles(mlflow_home):
    tracker, record = opened(mlflow_home), record_of(1, EVALUATION)
    metrics = {"drift": 0.25}
    tracker.log_round(record, MODEL, metrics, resumed=False)
    # As if the process had died just before the registration.
    tracker.client.delete_model_version("movies", "1")
    assert tracker.log_round(record, MODEL, metrics, resumed=True) == 2
    assert history(tracker, "drift") == [(1, 0.25)]
    table = pd.read_json(artifact(tracker, "clients/round-0001.json"), orient="split")
    assert table["client_id"].tolist() == ["ash", "birch"]


def test_results_are_in_the_run_once_even_if_concluded_again(mlflow_home, tmp_path):
    tracker, folder = opened(mlflow_home), tmp_path / "report"
    folder.mkdir()
    (folder / "report.html").write_text("report")
    rows = [{"client_id": "ash", "final": {"hr@10": 0.5}}, {"client_id": "birch", "cases": 3}]
    for _ in range(2):
        tracker.log_result(
            {"final/hr@10": 0.5}, record_of(7), folder, {"clients.json": rows, "empty.json": []}
        )
    assert history(tracker, "final/hr_at_10") == [(0, 0.5)]
    assert artifact(tracker, "report.html").read_text() == "report"
    table = pd.read_json(artifact(tracker, "clients.json"), orient="split")
    assert list(table.columns) == ["client_id", "final.hr@10", "cases"]
    assert table["client_id"].tolist() == ["ash", "birch"]
    names = {each.path for each in tracker.client.list_artifacts(tracker.run_id)}
    assert names == {"report.html", "clients.json"}


def test_a_breach_is_recorded(mlflow_home):
    tracker = opened(mlflow_home)
    tracker.log_breach(3, "round-3", '{"passed": false}')
    tracker.log_json("job.json", {"a": 1})
    assert artifact(tracker, "contracts/round-3.json").read_text() == '{"passed": false}'
    assert json.loads(artifact(tracker, "job.json").read_text()) == {"a": 1}
    tags = tracker.client.get_run(tracker.run_id).data.tags
    assert tags["fedrec.breach"] == "round 3: round-3"


def test_an_interrupted_job_gets_its_run_back(mlflow_home):
    assert find_run(mlflow_home, "films", "films-1") is None
    tracker = opened(mlflow_home)
    assert status(tracker) == "RUNNING"
    tracker.end("FAILED")
    assert status(tracker) == "FAILED"
    assert find_run(mlflow_home, "films", "films-1") == tracker.run_id
    assert find_run(mlflow_home, "films", "films-2") is None
    assert opened(mlflow_home, run_id=tracker.run_id).run_id == tracker.run_id
    assert status(tracker) == "RUNNING"


def test_runs_of_dead_jobs_are_ended_and_those_of_living_ones_are_not(mlflow_home):
    with held(mlflow_home.jobs, "dead", "k" * 64, opening()) as journal:
        dead = opened(mlflow_home, journal.job_id)
    with held(mlflow_home.jobs, "alive", "k" * 64, opening()) as journal:
        alive = opened(mlflow_home, journal.job_id)
        elsewhere = opened(mlflow_home, "of-another-home-1")
        finished = opened(mlflow_home, "finished-1")
        finished.end("FINISHED")
        foreign = alive.client.create_run(alive.client.get_run(alive.run_id).info.experiment_id)
        mine = opened(mlflow_home, "mine-1")
        trackers = (dead, alive, elsewhere, finished, mine)
        assert [status(each) for each in trackers] == ["KILLED", "RUNNING", "RUNNING", "FINISHED", "RUNNING"]
        assert alive.client.get_run(foreign.info.run_id).info.status == "RUNNING"


def test_a_job_does_not_end_its_own_run(mlflow_home):
    with held(mlflow_home.jobs, "mine", "k" * 64, opening()) as journal:
        tracker = opened(mlflow_home, journal.job_id)
    assert opened(mlflow_home, journal.job_id, tracker.run_id).run_id == tracker.run_id
    assert status(tracker) == "RUNNING"
    assert tracker.client.get_run(tracker.run_id).info.end_time is None


def test_the_revision_is_a_commit_or_unknown(monkeypatch, tmp_path):
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", git_revision())
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert git_revision() == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_revision() == "unknown"


def test_nested_settings_are_flattened_to_dotted_names():
    found = flattened({"a": 1, "b": {"c": [1, 2], "d": {"e": None}}, "f": {}})
    assert found == [("a", 1), ("b.c", [1, 2]), ("b.d.e", None)]
