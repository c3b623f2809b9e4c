"""A home whose path has letters with a meaning in addresses: everything is written below it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.errors import NotFound
from tasks.exchange.store import Exchange
from tasks.local.environment import settings
from tasks.local.home import Home
from tasks.tracking import registry
from tasks.tracking.experiments import experiment_id_of

NAMES = [
    *(
        "a b",
        "a%b",
        "a%20b",
        "a%2Fb",
        "a%%b",
        "100%",
        "a#b",
        "a?b",
        "a?mode=ro",
        "a&b=c",
        "a+b",
        "a::b",
        "a;b",
    ),
    *(
        "a:b",
        "file:",
        "sqlite:",
        "a@b",
        "é",
        "e\u0301",
        "医",
        "🎬",
        "a'b",
        'a"b',
        "a\\b",
        "a*b",
        "a[b]",
        "$HOME",
    ),
    *("~", "{a}", "a|b", "!a", "-a", ".a", "...", " a ", "a" * 200, "医" * 80),
]


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_databases_artefacts_and_objects_are_below_it(tmp_path, monkeypatch, empty_database, name):
    from prefect.settings import Settings
    from sqlalchemy.engine import make_url

    outside = tmp_path / "outside"
    home = Home(outside / name)
    home.mlflow.mkdir(parents=True)
    shutil.copy(empty_database, home.mlflow / "mlflow.db")
    monkeypatch.chdir(outside)
    for variable, value in settings(home).items():
        monkeypatch.setenv(variable, value)

    client = registry.open_registry(home)
    experiment = experiment_id_of(client, home, "movies")
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "of the run", "folder/note.txt")
    registry.ensure_registered_model(client, "movies")
    exchange = Exchange(home.exchange.as_uri())
    ref = exchange.put("job/models", b"model")

    [note] = (home.mlflow / "artifacts").rglob("note.txt")
    assert note.read_text() == "of the run"
    assert [each.path for each in client.list_artifacts(run.info.run_id, "folder")] == ["folder/note.txt"]
    assert (home.exchange / ref.path).read_bytes() == b"model"
    assert exchange.get(ref) == b"model"
    # What Prefect's server would open.
    database = make_url(Settings().server.database.connection_url.get_secret_value()).database
    assert database == str(home.prefect / "prefect.db")
    assert list(outside.iterdir()) == [home.root]
    # The copied database was used, and no other made.
    assert [path for path in files_below(home.root) if path.suffix == ".db"] == [home.mlflow / "mlflow.db"]
    assert client.get_experiment(experiment).name == "movies"


def test_a_home_without_database_has_nothing_registered(tmp_path, monkeypatch):
    home = Home(tmp_path / "a%20b?")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings(home)["MLFLOW_TRACKING_URI"])
    with pytest.raises(NotFound, match="Nothing is registered yet"):
        registry.open_registry(home)
    assert list(tmp_path.iterdir()) == []
