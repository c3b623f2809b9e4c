"""A real gateway for tests that can be killed and started again, on a free port of 127.0.0.1."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.gateway.settings import GatewaySettings
from tasks.local.home import Home
from tests.faults.lives import Lives
from tests.servers.server_process import ServerProcess, without

CHECKOUT = Path(__file__).parents[2]


@dataclass
class GatewayServer(ServerProcess):
    """The gateway of the coordinator whose home is the folder.

    Attributes:
        settings: that differ from the default.
        lives: how often the gateway dies by itself, and where; None for never.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    lives: Lives | None = None

    health = "/healthz"

    @property
    def home(self) -> Home:
        return Home(self.folder)

    @property
    def command(self) -> list[str]:
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        if self.lives:
            return self.lives.of("tasks.gateway", *arguments)
        return [sys.executable, "-m", "tasks.gateway", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        environment = without("FEDREC_GATEWAY")
        given = {"home": str(self.folder), "exchange": self.home.exchange.as_uri(), **self.settings}
        GatewaySettings(**given).to_environment(environment)
        # The program that runs it again and again is one of the tests.
        return environment | {"PYTHONPATH": str(CHECKOUT)}
