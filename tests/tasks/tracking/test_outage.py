"""What counts as an outage: real errors of an absent server, of a locked database, and of neither."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from models.errors import NotFound, TrackingUnavailable
from tasks.tracking.outage import is_outage, names_outages
from tests.servers.free_port import free_port


@pytest.fixture
def database(tmp_path: Path) -> MlflowClient:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(uri, uri)
    client.create_experiment("films", artifact_location="file:///nowhere")
    return client


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return MlflowClient(f"http://127.0.0.1:{free_port()}")


def test_an_absent_server_is_away(nobody: MlflowClient) -> None:
    with pytest.raises(Exception, match="failed with exception") as caught:
        nobody.search_experiments()
    assert is_outage(caught.value)
    with pytest.raises(TrackingUnavailable, match="Once MLflow is back"):
        names_outages(nobody.search_experiments)()


def test_a_locked_database_is_away(database: MlflowClient, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Exception, match="database is locked") as caught:
            database.create_experiment("books", artifact_location="file:///nowhere")
        other.execute("ROLLBACK")
    assert is_outage(caught.value)


def test_a_server_that_refuses_is_not_away(database: MlflowClient, nobody: MlflowClient) -> None:
    with pytest.raises(Exception, match="already exists") as caught:
        database.create_experiment("films")
    assert not is_outage(caught.value, database)
    # An error without details is judged by whether the server answers.
    assert is_outage(OSError("upload failed"), nobody)
    assert not is_outage(NotFound("No such thing."), nobody)
    with pytest.raises(type(caught.value), match="already exists"):
        names_outages(database.create_experiment)("films")
