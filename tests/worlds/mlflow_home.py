"""Homes with a fresh MLflow database, which is made once a session: its migrations take over a second."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.local.environment import settings
from tasks.local.home import Home
from tasks.tracking import registry


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated MLflow database without experiments of its own, to be copied."""
    home = Home(tmp_path_factory.mktemp("template"))
    home.mlflow.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        registry.client(home).search_registered_models()
    return home.mlflow / "mlflow.db"


def put_database(home: Home, database: Path) -> None:
    """Copy an MLflow database into a home that has none."""
    home.mlflow.mkdir(parents=True)
    shutil.copy(database, home.mlflow / "mlflow.db")


@pytest.fixture
def mlflow_home(home: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return the test's home with a fresh MLflow database. The environment names this home."""
    found = Home(home)
    for name, value in settings(found).items():
        monkeypatch.setenv(name, value)
    put_database(found, empty_database)
    return found
