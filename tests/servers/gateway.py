"""A real gateway for tests that can be killed and started again, on a free port of 127.0.0.1."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.gateway.settings import GatewaySettings
from tasks.local.home import Home
from tests.servers.server_process import ServerProcess, without

CHECKOUT = Path(__file__).parents[2]


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module."""
    return [sys.executable, "-m", module, *arguments]


@dataclass
class GatewayServer(ServerProcess):
    """The gateway of the coordinator whose home is the folder.

    Attributes:
        settings: that differ from the default.
        command_of: returns the command that runs a module with arguments.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    command_of: Callable[..., list[str]] = python

    health = "/healthz"

    @property
    def home(self) -> Home:
        return Home(self.folder)

    @property
    def command(self) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(self.port)]
        return self.command_of("tasks.gateway", *where, "--workers", "1")

    @property
    def environment(self) -> dict[str, str]:
        environment = without("FEDREC_GATEWAY")
        given = {"home": str(self.folder), "exchange": self.home.exchange.as_uri(), **self.settings}
        GatewaySettings(**given).to_environment(environment)
        # What runs it may be one of the tests' modules.
        return environment | {"PYTHONPATH": str(CHECKOUT)}
