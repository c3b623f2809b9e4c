"""What a gateway's processes are started with, which they read from the environment."""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.local.home import Home

_VARIABLE = "FEDREC_GATEWAY"


@dataclass(frozen=True)
class GatewaySettings:
    """The settings of a gateway.

    Attributes:
        home: the coordinator's folder.
        exchange: URL of the folder of models and updates.
        database: SQLAlchemy URL of the orders; None for the default of `open_database`.
        max_object_bytes: larger uploads are refused.
        longest_wait_s: longest time for which a request may wait for an order.
        silence_s: an upload of which nothing arrives for so long is ended.
        slowest_bytes_s: an upload that is slower on average is ended.
        metrics_port: port of 127.0.0.1 for Prometheus; None for none.
    """

    home: str
    exchange: str
    database: str | None = None
    max_object_bytes: int = 100_000_000
    longest_wait_s: float = 30.0
    silence_s: float = 20.0
    slowest_bytes_s: int = 10_000
    metrics_port: int | None = None

    @property
    def folder(self) -> Home:
        """Return the coordinator's home."""
        return Home(Path(self.home))

    def to_environment(self, environment: MutableMapping[str, str]) -> None:
        """Write the settings for the gateway's processes."""
        environment[_VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def of_environment(cls) -> GatewaySettings:
        """Return the settings that `to_environment` wrote."""
        return cls(**json.loads(os.environ[_VARIABLE]))
