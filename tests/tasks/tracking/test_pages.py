"""The printed addresses of MLflow: the right page and view, on the right server, without a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.local.home import Home
from tasks.tracking.pages import MlflowPages, mlflow_pages, places_of_job
from tests.worlds.records import job_result, round_result

VIEW = "?workflowType=machine_learning"


def test_every_page_opens_in_the_view_for_training() -> None:
    pages = MlflowPages("http://127.0.0.1:5000", is_served=True)
    assert pages.experiment("3") == f"http://127.0.0.1:5000/#/experiments/3{VIEW}"
    assert pages.run("3", "ab") == f"http://127.0.0.1:5000/#/experiments/3/runs/ab{VIEW}"
    assert pages.version("fedrec-shop", 12) == f"http://127.0.0.1:5000/#/models/fedrec-shop/versions/12{VIEW}"
    assert pages.version("a/b c", 1) == f"http://127.0.0.1:5000/#/models/a%2Fb%20c/versions/1{VIEW}"


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("http://tracking:5001", "http://tracking:5001"),
        ("https://tracking.example/", "https://tracking.example"),
        ("https://ann:secret@tracking.example:8443/mlflow/", "https://tracking.example:8443/mlflow"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_the_pages_of_a_server_are_there_and_name_no_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uri: str, root: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert mlflow_pages(Home(tmp_path)) == MlflowPages(root, is_served=True)


@pytest.mark.parametrize(
    ("port", "root"), [(None, "http://127.0.0.1:5000"), ("5999", "http://127.0.0.1:5999")]
)
def test_the_pages_of_a_database_are_where_make_ui_serves_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: str | None, root: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_PORT", raising=False)
    if port:
        monkeypatch.setenv("MLFLOW_PORT", port)
    assert mlflow_pages(Home(tmp_path)) == MlflowPages(root, is_served=False)


def test_a_job_is_shown_by_its_run_by_all_runs_and_by_its_best_version() -> None:
    rounds = tuple(
        round_result(place, version=3 + place, metrics={"validation/ndcg@10": value})
        for place, value in enumerate((0.1, 0.3, 0.2), start=1)
    )
    pages = MlflowPages("http://tracking", is_served=True)
    assert places_of_job(pages, job_result(experiment_id="3", rounds=rounds)) == [
        f"The job's run in MLflow: {pages.run('3', 'run-77')}",
        f"All runs beside each other: {pages.experiment('3')}",
        f"Version 5, its best round by validation: {pages.version('movies', 5)}",
    ]


def test_without_a_server_the_first_line_says_how_to_start_one() -> None:
    pages = MlflowPages("http://127.0.0.1:5000", is_served=False)
    first, run, table = places_of_job(pages, job_result(experiment_id="3"))
    assert "`make ui`" in first
    assert run.startswith("The job's run in MLflow: http://127.0.0.1:5000/#/experiments/3/runs/run-77?")
    assert table.startswith("All runs beside each other: http://127.0.0.1:5000/#/experiments/3?")


def test_a_job_that_mlflow_has_not_received_has_no_address() -> None:
    away = job_result(run_id=None, experiment_id=None)
    assert places_of_job(MlflowPages("http://tracking", is_served=True), away) == []
