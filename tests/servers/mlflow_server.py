"""A real MLflow server for tests that can be stopped and started again, on a free port of 127.0.0.1.

A pytest plugin: `mlflow_server` is one server for one test, not yet started, with an empty database and a
folder of artefacts that only it sees. The environment names it by HTTP.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.local.environment import settings
from tasks.local.home import Home
from tests.servers.server_process import ServerProcess, without


class MlflowServer(ServerProcess):
    """MLflow's server. It is killed in the middle of its work."""

    ended_by = signal.SIGKILL

    @property
    def command(self) -> list[str]:
        return [
            *(str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1"),
            *("--workers", "1", "--port", str(self.port)),
            *("--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"),
            *("--artifacts-destination", str(self.folder / "artifacts")),
        ]

    @property
    def environment(self) -> dict[str, str]:
        return without("MLFLOW_TRACKING_URI") | server_settings(self.folder)


def server_settings(folder: Path) -> dict[str, str]:
    """Return the settings of a process of MLflow that keeps its state below `folder`."""
    chosen = settings(Home(folder))
    return {name: value for name, value in chosen.items() if name != "MLFLOW_TRACKING_URI"}


@pytest.fixture
def mlflow_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    """Return a server that has not started."""
    folder = tmp_path / "mlflow-server"
    folder.mkdir()
    server = MlflowServer(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    yield server
    server.stop()
