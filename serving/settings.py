"""The settings of a serving process, passed to its workers in one environment variable."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "FEDREC_SERVE_SETTINGS"


@dataclass(frozen=True)
class Settings:
    """The settings of a serving process.

    Attributes:
        folder: folder of the model's bundles and of the pointer to them.
        model_name: the registered model that is served. Bundles of another model are refused.
        token: bearer token that clients must send; empty for none.
        rate: mean number of requests per second that a worker accepts from one address; 0 for no limit.
        burst: number of requests that a worker accepts from one address at once.
        max_body: maximal size of a request's body in bytes.
        body_timeout: seconds within which the body must arrive.
        max_waiting: number of requests that a worker handles at once. Further ones get a 503.
        poll: seconds between two checks of the pointer.
        publisher_silence: seconds without a sign of the publisher after which the alarm is set; 0 for never,
            if this service has no publisher of its own.
        shadow: share of the requests that the challenger also answers, without sending its answer.
        canary: share of the requests that the challenger answers instead of the champion.
        local_users: whether this service runs in a silo and answers requests for the silo's users.
        access_log: whether each request is logged as a line of JSON on stderr.
    """

    folder: str
    model_name: str
    token: str = ""
    rate: float = 200.0
    burst: float = 400.0
    max_body: int = 1_000_000
    body_timeout: float = 10.0
    max_waiting: int = 256
    poll: float = 0.25
    publisher_silence: float = 0.0
    shadow: float = 0.0
    canary: float = 0.0
    local_users: bool = False
    access_log: bool = True

    @property
    def root(self) -> Path:
        """Return the folder as a path."""
        return Path(self.folder)

    @classmethod
    def from_environment(cls) -> Settings:
        """Return the settings in the environment variable, a JSON object with the attributes as keys."""
        return cls(**json.loads(os.environ[VARIABLE]))
