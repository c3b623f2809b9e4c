"""The server that stays: one for each home, found by every command, and stopped alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from models.errors import InvalidInput
from tasks.local import environment
from tasks.local.home import Home
from tasks.local.process_note import write_note
from tasks.local.schemas import stored
from tasks.local.server_note import note_path, noted_server, running_server
from tasks.orchestration.server import ServerFailed, start_server, stop_server

FEDREC = Path(sys.executable).parent / "fedrec"


@pytest.fixture(autouse=True)
def own_environment(home: Path) -> Iterator[None]:
    """Name no server, and restore the process's environment afterwards."""
    before = dict(os.environ)
    for name in (*environment.settings(Home(home)), "PREFECT_API_URL", "FEDREC_FOUND_SERVER"):
        if name != "FEDREC_HOME":
            os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def new_home(tmp_path: Path) -> Iterator[Callable[[str], Home]]:
    """Return a function that makes a home of its own, whose server is stopped at the end."""
    made: list[Home] = []

    def make(name: str) -> Home:
        found = Home(tmp_path / name)
        found.prefect.mkdir(parents=True)
        made.append(found)
        return found

    yield make
    for each in made:
        stop_server(each)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/health", timeout=30) as response:  # noqa: S310
            return response.status == 200
    except OSError:
        return False


def runs(pid: int) -> bool:
    """Return whether a process has not ended. Its parent may not have asked for its exit code yet."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command(home: Home, *arguments: str) -> subprocess.Popen[str]:
    names = {"FEDREC_HOME": str(home.root), "PREFECT_PORT": "0"}
    return subprocess.Popen(
        [FEDREC, *arguments, "--json"], env=os.environ | names, stdout=subprocess.PIPE, text=True
    )


def output(process: subprocess.Popen[str]) -> Any:
    text, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    return json.loads(text)


def test_one_server_a_home_however_many_start_it_at_once(new_home, monkeypatch):
    ash, birch = new_home("ash"), new_home("birch")
    first, second, other = command(ash, "up"), command(ash, "up"), command(birch, "up")
    found = [output(first), output(second)]
    beside = output(other)

    assert sorted(each["started"] for each in found) == [False, True]
    assert found[0]["pid"] == found[1]["pid"] != beside["pid"]
    assert found[0]["url"] == found[1]["url"] != beside["url"]
    assert answers(found[0]["url"])
    assert answers(beside["url"])
    shown = output(command(ash, "status"))
    assert (shown["server"]["pid"], shown["jobs"]) == (found[0]["pid"], [])
    assert output(command(ash, "env"))["PREFECT_API_URL"] == found[0]["api_url"]

    # A command finds the server of its own home, and none that the user did not name otherwise.
    for place, url in ((ash, found[0]["api_url"]), (birch, beside["api_url"])):
        monkeypatch.setenv("FEDREC_HOME", str(place.root))
        environment.apply()
        assert environment.prefect_api_url() == url
    monkeypatch.setenv("PREFECT_API_URL", "http://coordinator:4200/api")
    environment.apply()
    assert environment.prefect_api_url() == "http://coordinator:4200/api"

    assert output(command(ash, "down"))["stopped"]["pid"] == found[0]["pid"]
    assert not answers(found[0]["url"])
    assert not runs(found[0]["pid"])
    assert answers(beside["url"])
    assert output(command(ash, "down")) == {"stopped": None}
    assert output(command(ash, "status"))["server"] is None
    assert not note_path(ash).exists()


def test_a_server_that_was_killed_is_forgotten_and_replaced(new_home, monkeypatch):
    home = new_home("ash")
    monkeypatch.setenv("FEDREC_HOME", str(home.root))
    monkeypatch.setenv("PREFECT_PORT", "0")
    environment.apply()
    server, is_new = start_server(home)
    environment.apply()
    assert (is_new, environment.prefect_api_url()) == (True, server.api_url)

    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait(30)

    assert running_server(home) is None
    # Also a process that inherited the address looks again.
    environment.apply()
    assert environment.prefect_api_url() is None
    again, is_new = start_server(home)
    assert is_new
    assert again.process.pid != server.process.pid
    assert answers(again.url)


def test_the_server_migrates_the_database_of_an_earlier_prefect(new_home, monkeypatch):
    home = new_home("ash")
    path = home.prefect / "prefect.db"
    monkeypatch.setenv("FEDREC_HOME", str(home.root))
    monkeypatch.setenv("PREFECT_PORT", "0")
    environment.apply()
    stored.create("prefect", path)
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "downgrade", "-r", "-1", "-y"],
        check=True,
        capture_output=True,
        timeout=240,
    )
    assert not stored.is_current("prefect", path)
    start_server(home)
    assert stored.is_current("prefect", path)


def test_a_note_about_another_process_stops_nothing(home):
    place = Home(home)
    facts = {"url": "http://127.0.0.1:1", "since": "2026-11-20T10:00:00+00:00", "is_ready": True}
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        write_note(note_path(place), psutil.Process(sleeper.pid), facts)
        assert stop_server(place) is None
        assert not note_path(place).exists()
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"no JSON",
        b'{"pid": 1}',
        # Process 1 runs, but it began at another time.
        b'{"pid": 1, "created": 5.0, "url": "http://127.0.0.1:1", "since": "", "is_ready": true}',
    ],
)
def test_a_note_that_names_no_running_server_is_none(home, content):
    place = Home(home)
    place.prefect.mkdir(parents=True)
    note_path(place).write_bytes(content)
    assert noted_server(place) is None
    environment.apply()
    assert environment.prefect_api_url() is None


def test_a_server_is_not_used_before_it_answers(home):
    place = Home(home)
    facts = {"url": "http://127.0.0.1:1", "since": "2026-11-20T10:00:00+00:00"}
    write_note(note_path(place), psutil.Process(), {**facts, "is_ready": False})
    assert noted_server(place) is not None
    assert running_server(place) is None
    write_note(note_path(place), psutil.Process(), {**facts, "is_ready": True})
    assert running_server(place).url == "http://127.0.0.1:1"


def test_a_taken_port_is_refused_before_a_server_starts(home):
    environment.apply()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=rf"listens on port {port} .*leave it out for a free one"):
            start_server(Home(home), port)
    assert not note_path(Home(home)).exists()


def test_a_server_that_cannot_start_says_why_and_leaves_no_note(home, monkeypatch):
    monkeypatch.setenv(
        "PREFECT_API_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////no/such/folder/prefect.db"
    )
    environment.apply()
    with pytest.raises(ServerFailed, match=r"ended before it answered\..*server\.log"):
        start_server(Home(home))
    assert not note_path(Home(home)).exists()


def test_a_temporary_server_ends_with_its_process(new_home):
    home = new_home("ash")
    code = """
import sys
from tasks.local.environment import apply
from tasks.orchestration.server import start_temporary_server, wait_for_temporary_server
home = apply()
start_temporary_server(home)
start_temporary_server(home)
assert "prefect" not in sys.modules
from prefect import flow
from prefect.client.orchestration import get_client
wait_for_temporary_server()
flow(name="one")(lambda: 1)()
import psutil
with get_client(sync_client=True) as client:
    assert [run.state.name for run in client.read_flow_runs()] == ["Completed"]
[server] = psutil.Process().children()
import os, signal
# As a Ctrl-C in a terminal.
os.kill(server.pid, signal.SIGINT)
try:
    server.wait(2)
except psutil.TimeoutExpired:
    pass
log = home.prefect / "servers" / f"{server.pid}.log"
assert log.is_file()
print([server.pid])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"FEDREC_HOME": str(home.root)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [pid] = json.loads(done.stdout.splitlines()[-1])
    give_up = time.monotonic() + 30
    while runs(pid) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not runs(pid)
    # Nothing of the server's own output is in the terminal, and its log goes with it.
    assert done.stderr == ""
    assert list((home.prefect / "servers").glob("*.log")) == []
