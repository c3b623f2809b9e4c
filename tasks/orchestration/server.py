"""Runs Prefect's server as a process of its own: one that stays, or one for the time of a command.

Nothing here imports Prefect, so that the server starts while the command imports it.
"""

from __future__ import annotations

import atexit
import contextlib
import http
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO
from urllib.parse import urlsplit

import psutil
from filelock import FileLock

from models.errors import FedrecError, InvalidInput
from tasks.local.environment import PREFECT_API_URL, prefect_api_url
from tasks.local.home import Home
from tasks.local.process_note import read_note, write_note
from tasks.local.server_note import ServerNote, note_path, noted_server

_APPLICATION = "prefect.server.api.server:create_app"
_HOST = "127.0.0.1"
# The port of Prefect's UI, where it is free.
_USUAL_PORT = 4200
_START_S = 180.0
_STOP_S = 30.0
_LOOK_S = 0.05
# Of a server that ends with a command: nobody opens its pages, and it has no schedules and no notifications.
_TEMPORARY = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
}


@dataclass
class _Temporary:
    """The server that this process has started for its own time.

    Attributes:
        process: the server.
        api_url: its address.
        log: the file with its output, which is deleted when the server is ended.
        is_ready: whether it has answered.
    """

    process: subprocess.Popen[bytes]
    api_url: str
    log: Path
    is_ready: bool = False


# At most one.
_own: list[_Temporary] = []


class ServerFailed(FedrecError):
    """Prefect's server did not start."""


def is_server(process: psutil.Process) -> bool:
    """Return whether a process is a server of Prefect that fedrec, or Prefect for fedrec, started."""
    try:
        return _APPLICATION in process.cmdline()
    except psutil.Error:
        return False


def start_server(home: Home, port: int | None = None) -> tuple[ServerNote, bool]:
    """Start the home's server unless it runs, wait until it answers, and return it and whether it is new.

    The server stays after this process has ended. Of several processes that call this at once, one starts it.
    Call `tasks.local.environment.apply` first: the server runs in this process's environment.

    Args:
        home: contains Prefect's database, the server's note and its log.
        port: of 127.0.0.1. By default PREFECT_PORT, or 4200, or a free port if that is taken.

    Raises:
        InvalidInput: the port is taken.
        ServerFailed: the server ended, or did not answer in time.
    """
    with _alone(home):
        # An earlier call may have been killed while the server started.
        found = noted_server(home)
        if found is not None and is_server(found.process):
            is_new = not found.is_ready
        else:
            found, is_new = _started(home, port), True
        if is_new:
            try:
                wait_until_it_answers(found.api_url, found.process)
            except ServerFailed as failed:
                _end(found.process)
                note_path(home).unlink(missing_ok=True)
                raise ServerFailed(
                    f"{failed.what} {_last_line(log_path(home))}".rstrip(),
                    next_step=f"Its log is {log_path(home)}.",
                ) from failed
            _write(home, found.process, found.url, found.since, is_ready=True)
        return found, is_new


def stop_server(home: Home) -> ServerNote | None:
    """Stop the home's server, and return it; None if none runs. No other process is touched."""
    with _alone(home):
        found = noted_server(home)
        if found is not None and is_server(found.process):
            _end(found.process)
        else:
            found = None
        note_path(home).unlink(missing_ok=True)
        return found


def log_path(home: Home) -> Path:
    """Return the log of the server that stays."""
    return home.prefect / "server.log"


def start_temporary_server(home: Home) -> None:
    """Start a server for the time of this process, unless the environment names one. Do not wait for it.

    Prefect finds it by the environment when it is imported. If it is imported already, it starts its own one.
    Its output goes to a file: it reports at length what Prefect tries again, and what its own end interrupts.
    """
    if prefect_api_url() or _own or "prefect" in sys.modules:
        return
    folder = home.prefect / "servers"
    end_orphaned_servers(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _listening(0) as listening, NamedTemporaryFile(dir=folder, suffix=".log", delete=False) as log:
        server = _spawned(listening, os.environ | _TEMPORARY, log, stays=False)
        url = _url(listening)
    own_log = Path(log.name).replace(folder / f"{server.pid}.log")
    os.environ[PREFECT_API_URL] = f"{url}/api"
    _own.append(_Temporary(server, f"{url}/api", own_log))
    # Registered before Prefect is imported, so that it is called after Prefect's own functions.
    atexit.register(stop_temporary_server)
    with contextlib.suppress(psutil.NoSuchProcess):
        write_note(folder / f"{server.pid}.json", psutil.Process(server.pid))


def has_temporary_server() -> bool:
    """Return whether this process has started a temporary server."""
    return bool(_own)


def is_temporary_server_starting() -> bool:
    """Return whether this process has started a temporary server that does not run its application yet."""
    return any(not each.is_ready for each in _own)


def wait_for_temporary_server() -> None:
    """Wait until the temporary server answers, if this process has started one.

    Raises:
        ServerFailed: it ended, or did not answer in time.
    """
    for each in _own:
        try:
            wait_until_it_answers(each.api_url, each.process)
        except ServerFailed as failed:
            raise ServerFailed(f"{failed.what} {_last_line(each.log)}".rstrip()) from failed
        each.is_ready = True


def stop_temporary_server() -> None:
    """Stop the temporary server, if this process has started one."""
    while _own:
        ending = _own.pop()
        if prefect_api_url() == ending.api_url:
            del os.environ[PREFECT_API_URL]
        ending.process.terminate()
        try:
            ending.process.wait(5)
        except subprocess.TimeoutExpired:
            ending.process.kill()
            ending.process.wait()
        ending.log.unlink(missing_ok=True)


def note_own_server(folder: Path) -> None:
    """Write a note about the server that Prefect started for this process, to end it after a crash."""
    for child in psutil.Process().children():
        if is_server(child):
            write_note(folder / f"{child.pid}.json", child)


def end_orphaned_servers(folder: Path) -> list[str]:
    """End each noted server whose command was killed, and return their process ids.

    Processes without a note are not touched.
    """
    ended = []
    for note in sorted(folder.glob("[0-9]*.json")):
        found = read_note(note)
        if found is not None and is_server(server := found[0]):
            parent = server.parent()
            if parent is not None and parent.pid != 1:
                continue  # its command still runs
            server.terminate()
            ended.append(note.stem)
        note.unlink(missing_ok=True)
        note.with_suffix(".log").unlink(missing_ok=True)
    return ended


def wait_until_it_answers(api_url: str, process: psutil.Process | subprocess.Popen[bytes]) -> None:
    """Wait until a server answers.

    Raises:
        ServerFailed: it ended, or did not answer in time.
    """
    give_up = time.monotonic() + _START_S
    while time.monotonic() < give_up:
        if _answers(api_url):
            return
        if not _runs(process):
            raise ServerFailed("Prefect's server ended before it answered.")
        time.sleep(_LOOK_S)
    raise ServerFailed(f"Prefect's server did not answer within {_START_S:.0f} s.")


def _answers(api_url: str) -> bool:
    """Return whether a server of this machine answers. No proxy is asked."""
    place = urlsplit(api_url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=_START_S)
    try:
        connection.request("GET", f"{place.path}/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _started(home: Home, port: int | None) -> ServerNote:
    """Start a server that stays, and write a note about it."""
    listening = _listening(port)
    url, since = _url(listening), datetime.now(UTC).isoformat(timespec="seconds")
    own = {
        "PREFECT_SERVER_API_HOST": _HOST,
        "PREFECT_SERVER_API_PORT": url.rpartition(":")[2],
        "PREFECT_UI_API_URL": f"{url}/api",
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    }
    environment = {name: value for name, value in os.environ.items() if name != PREFECT_API_URL} | own
    home.prefect.mkdir(parents=True, exist_ok=True)
    with listening, log_path(home).open("wb") as log:
        server = _spawned(listening, environment, log, stays=True)
    process = psutil.Process(server.pid)
    _write(home, process, url, since, is_ready=False)
    return ServerNote(process, url, since, is_ready=False)


def _spawned(
    listening: socket.socket, environment: Mapping[str, str], log: IO[bytes], *, stays: bool
) -> subprocess.Popen[bytes]:
    """Start a server on a socket. One that stays is the first process of a session of its own."""
    command = [sys.executable, "-m", "tasks.orchestration.server_process", "--factory", _APPLICATION]
    return subprocess.Popen(  # noqa: S603  # our own command
        [*command, "--fd", str(listening.fileno()), "--log-level", "error", "--lifespan", "on"],
        env={**environment, "PREFECT__SERVER_FINAL": "1"},
        pass_fds=[listening.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=stays,
    )


def _listening(port: int | None) -> socket.socket:
    """Return a listening socket, so that no other process can take the port before the server does."""
    usual = int(os.environ.get("PREFECT_PORT") or _USUAL_PORT)
    for each in (usual, 0) if port is None else (port,):
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((_HOST, each))
            made.listen(2048)
            return made
        except OSError:
            made.close()
    raise InvalidInput(
        f"Another process listens on port {port} of {_HOST}.",
        next_step="Choose another port with --port, or leave it out for a free one.",
        port=port,
    )


def _url(listening: socket.socket) -> str:
    return f"http://{_HOST}:{listening.getsockname()[1]}"


def _write(home: Home, process: psutil.Process, url: str, since: str, *, is_ready: bool) -> None:
    write_note(note_path(home), process, {"url": url, "since": since, "is_ready": is_ready})


def _alone(home: Home) -> FileLock:
    """Return the lock under which a server of the home is started or stopped."""
    home.prefect.mkdir(parents=True, exist_ok=True)
    return FileLock(home.prefect / ".server.lock")


def _runs(process: psutil.Process | subprocess.Popen[bytes]) -> bool:
    if isinstance(process, subprocess.Popen):
        return process.poll() is None
    with contextlib.suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _end(process: psutil.Process) -> None:
    """End a server that is the first process of its session, and what it started."""
    for each in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, each)
        give_up = time.monotonic() + _STOP_S
        while _runs(process) and time.monotonic() < give_up:
            time.sleep(_LOOK_S)
        if not _runs(process):
            return


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
