"""A real Prefect server for tests that can be stopped and started again, on a free port of 127.0.0.1.

A pytest plugin: `restartable_prefect` is one server for one test, running, with a SQLite database of its own;
within the test Prefect's settings name it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.servers.free_port import free_port

_PATIENCE_S = 120


@dataclass
class PrefectServer:
    """A server, whether it runs or not.

    Attributes:
        folder: holds its database and its log.
        port: of 127.0.0.1.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def database(self) -> Path:
        return self.folder / "prefect.db"

    def start(self) -> None:
        """The server answers."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--no-ui"]
        environ = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        environ |= {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{self.database}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        give_up = time.monotonic() + _PATIENCE_S
        while not self._answers():
            ended = self._process.poll() is not None
            assert not ended and time.monotonic() < give_up, (self.folder / "log").read_text()
            time.sleep(0.1)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """The server is gone: it has ended as it does when asked to, or at once where `sign` is SIGKILL."""
        if self._process is not None:
            os.killpg(self._process.pid, sign)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(60)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api_url}/health", timeout=5):  # noqa: S310 - our own address
                return True
        except OSError:
            return False


@pytest.fixture
def restartable_prefect(tmp_path: Path, prefect_server: None) -> Iterator[PrefectServer]:
    """A running server that Prefect's settings name in place of the session's."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    folder = tmp_path / "prefect-server"
    folder.mkdir()
    server = PrefectServer(folder)
    server.start()
    try:
        with temporary_settings({PREFECT_API_URL: server.api_url}):
            yield server
    finally:
        server.stop(signal.SIGKILL)
