"""A real gateway for tests that can be killed and started again, on a free port of 127.0.0.1."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from tasks.gateway.settings import GatewaySettings
from tasks.local.home import Home
from tests.servers.server_process import ServerProcess, without


@dataclass
class GatewayServer(ServerProcess):
    """The gateway of the coordinator whose home is the folder.

    Attributes:
        settings: that differ from the default.
    """

    settings: dict[str, Any] = field(default_factory=dict)

    health = "/healthz"

    @property
    def home(self) -> Home:
        return Home(self.folder)

    @property
    def command(self) -> list[str]:
        start = [sys.executable, "-m", "tasks.gateway", "--host", "127.0.0.1"]
        return [*start, "--port", str(self.port), "--workers", "1"]

    @property
    def environment(self) -> dict[str, str]:
        environment = without("FEDREC_GATEWAY")
        given = {"home": str(self.folder), "exchange": self.home.exchange.as_uri(), **self.settings}
        GatewaySettings(**given).to_environment(environment)
        return environment
