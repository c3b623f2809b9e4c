"""`fedrec status` in words."""

from __future__ import annotations

import psutil
import pytest
from click.testing import CliRunner

from flows.cli import cli
from tasks.jobs.journal import held
from tasks.local.home import Home
from tasks.local.process_note import write_note
from tasks.local.server_note import note_path
from tests.worlds.records import CONFIG, opening, round_record


@pytest.fixture(autouse=True)
def no_server_is_named(home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "FEDREC_FOUND_SERVER", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")


def status() -> str:
    done = CliRunner().invoke(cli, ["status"], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_a_new_home_has_no_server_and_no_jobs(home):
    text = status()
    assert f"Home     {home}" in text
    assert "no server; each training job starts its own. fedrec up starts one that stays" in text
    assert "No jobs yet." in text


def test_server_and_jobs_are_shown(home):
    place = Home(home)
    facts = {"url": "http://127.0.0.1:4321", "since": "2026-11-20T10:00:00+00:00", "is_ready": True}
    write_note(note_path(place), psutil.Process(), facts)
    config = {**CONFIG, "federation": {"rounds": 30}}
    with held(place.jobs, "films", "a" * 64, opening(config=config)) as journal:
        journal.commit(round_record(0))
        journal.commit(round_record(1))
        text = status()
    assert f"http://127.0.0.1:4321, process {psutil.Process().pid}, since 2026-11-20T10:00:00+00:00" in text
    assert "by PREFECT_API_URL" not in text
    [line] = [line for line in text.splitlines() if "films-aaaaaaaa-1" in line]
    assert line.split() == ["films-aaaaaaaa-1", "running", "1", "of", "30", "2026-11-20", "09:00", "0"]


def test_a_server_that_the_user_names_is_shown_as_such(home, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://coordinator:4200/api")
    assert "Prefect  http://coordinator:4200/api, by PREFECT_API_URL" in status()
