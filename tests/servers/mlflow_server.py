"""A real MLflow server for tests that can be stopped and started again, on a free port of 127.0.0.1.

A pytest plugin: `mlflow_server` is one server for one test, not yet started, with an empty database and a
folder of artefacts that only it sees; the environment names it by HTTP.
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

_PATIENCE_S = 90


@dataclass
class MlflowServer:
    """A server, whether it runs or not.

    Attributes:
        folder: holds its database, its artefacts and its log.
        port: of 127.0.0.1.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """The server answers."""
        command = [str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1"]
        command += ["--workers", "1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        environ = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        give_up = time.monotonic() + _PATIENCE_S
        while not self._answers():
            ended = self._process.poll() is not None
            assert not ended and time.monotonic() < give_up, (self.folder / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """The server and its workers are gone, in the middle of whatever they did."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5):  # noqa: S310 - our own address
                return True
        except OSError:
            return False


@pytest.fixture
def mlflow_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    """A server that is yet to be started."""
    folder = tmp_path / "mlflow-server"
    folder.mkdir()
    server = MlflowServer(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    yield server
    server.stop()
