"""A server for tests: a real process on a free port of 127.0.0.1 that can be stopped and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.servers.free_port import free_port

_START_S, _STOP_S = 120, 60


@dataclass
class ServerProcess(ABC):
    """A server, running or not.

    Attributes:
        folder: holds its database, its log and its other files.
        port: of 127.0.0.1.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    health: ClassVar[str] = "/health"
    ended_by: ClassVar[signal.Signals] = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command that starts it."""

    @property
    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Return its environment, which names no server."""

    def start(self) -> None:
        """Start the server. Wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        give_up = time.monotonic() + _START_S
        while not self._answers():
            ended = self._process.poll() is not None
            assert not ended and time.monotonic() < give_up, (self.folder / "log").read_text()
            time.sleep(0.1)

    def stop(self, sign: signal.Signals | None = None) -> None:
        """End the server and its children. SIGTERM ends it in order, SIGKILL in the middle of its work."""
        if self._process is not None:
            os.killpg(self._process.pid, sign or self.ended_by)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(_STOP_S)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}{self.health}", timeout=5):  # noqa: S310 - our own
                return True
        except OSError:
            return False


def without(variable: str) -> dict[str, str]:
    """Return this process's environment without one variable."""
    return {name: value for name, value in os.environ.items() if name != variable}
