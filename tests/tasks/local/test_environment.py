"""The environment of Prefect, MLflow and Great Expectations: below the home, and without telemetry."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import InvalidConfig
from tasks.local.environment import OVERRIDABLE, apply, settings
from tasks.local.home import Home


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[pytest.MonkeyPatch]:
    """Remove all settings from the process environment, and restore them afterwards."""
    before = dict(os.environ)
    for name in settings(Home(home)):
        if name != "FEDREC_HOME":
            monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    os.environ.clear()
    os.environ.update(before)


def test_every_folder_lies_below_the_home(tmp_path):
    found = settings(Home(tmp_path / "h"))
    for name in ("MPLCONFIGDIR", "MLFLOW_TRACKING_URI", "PREFECT_HOME", "PREFECT_PROFILES_PATH"):
        assert str(tmp_path / "h") in found[name]
    assert all(isinstance(value, str) for value in found.values())


def test_telemetry_is_off_and_nothing_is_unpickled(tmp_path):
    found = settings(Home(tmp_path))
    assert found["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert found["DO_NOT_TRACK"] == "1"
    assert found["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert found["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert found["GX_ANALYTICS_ENABLED"] == "false"


def test_applied_settings_are_the_environment(environ, home):
    assert apply() == Home(home)
    assert home.is_dir()
    assert Home(home).mlflow.is_dir()
    expected = settings(Home(home))
    assert {name: os.environ[name] for name in expected} == expected
    assert apply() == Home(home)


@pytest.mark.parametrize("name", OVERRIDABLE)
def test_overridable_settings_of_the_user_are_kept(environ, home, name):
    environ.setenv(name, "the user's")
    apply()
    assert os.environ[name] == "the user's"


@pytest.mark.parametrize("name", ["PREFECT_HOME", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "OMP_NUM_THREADS"])
def test_required_settings_replace_earlier_values(environ, home, name):
    environ.setenv(name, "something else")
    apply()
    assert os.environ[name] == settings(Home(home))[name]


def test_a_second_home_in_one_process_gets_its_own_settings(environ, tmp_path):
    apply()
    environ.setenv("FEDREC_HOME", str(tmp_path / "second"))
    apply()
    expected = settings(Home(tmp_path / "second"))
    assert {name: os.environ[name] for name in expected} == expected


@pytest.mark.parametrize("place", ["file/home", "a" * 300])
def test_a_home_that_cannot_be_made_is_one_clear_error(environ, tmp_path, place):
    (tmp_path / "file").touch()
    environ.setenv("FEDREC_HOME", str(tmp_path / place))
    with pytest.raises(
        InvalidConfig, match=r"cannot be made: .*Set FEDREC_HOME to a folder in which you may"
    ):
        apply()
