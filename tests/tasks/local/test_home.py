"""One folder holds all files that fedrec writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InvalidConfig
from tasks.local.home import Home, current_home


def test_everything_lies_below_the_home(home):
    found = current_home()
    assert found == Home(home)
    places = ("data", "silos", "jobs", "exchange", "mlflow", "prefect", "ledger")
    for place in places:
        assert getattr(found, place).is_relative_to(home)
    assert len({getattr(found, place) for place in places}) == len(places)


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_variable_it_is_a_hidden_folder_of_the_checkout(monkeypatch, value):
    if value is None:
        monkeypatch.delenv("FEDREC_HOME")
    else:
        monkeypatch.setenv("FEDREC_HOME", value)
    assert current_home().root == Path(__file__).resolve().parents[3] / ".fedrec"


def test_relative_and_user_folders_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    for value, expected in (("here", tmp_path / "here"), ("~/there", tmp_path / "me" / "there")):
        monkeypatch.setenv("FEDREC_HOME", value)
        assert current_home().root == expected


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\tb", "a\x7fb", "a\udcffb"])
def test_a_home_that_no_address_can_have_is_refused(monkeypatch, tmp_path, name):
    monkeypatch.setenv("FEDREC_HOME", str(tmp_path / name))
    with pytest.raises(InvalidConfig, match="Set FEDREC_HOME to another folder"):
        current_home()
