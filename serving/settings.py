"""What may be set of a serving process; handed to its workers as one environment variable."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "FEDREC_SERVE_SETTINGS"


@dataclass(frozen=True)
class Settings:
    """How a serving process answers.

    Attributes:
        folder: where bundles and the pointer to them lie.
        token: what a client must show as its bearer token; empty where none is asked for.
        rate: requests a second that one client address may make of one worker, on average; 0 for any.
        burst: how many of them may come at once.
        max_body: bytes that a request's body may have.
        body_timeout: seconds that a client may take to send it.
        max_waiting: requests that one worker works on at once; more are told to come back.
        poll: seconds between two looks at the pointer.
        shadow: share of the requests that the challenger is asked, too, without being heard.
        canary: share of the requests that the challenger answers.
        local_users: whether this service stands in a silo and answers its users by their ids.
        access_log: whether each request is one line of JSON on stderr.
    """

    folder: str
    token: str = ""
    rate: float = 200.0
    burst: float = 400.0
    max_body: int = 1_000_000
    body_timeout: float = 10.0
    max_waiting: int = 256
    poll: float = 0.25
    shadow: float = 0.0
    canary: float = 0.0
    local_users: bool = False
    access_log: bool = True

    @property
    def root(self) -> Path:
        """The folder as a path."""
        return Path(self.folder)

    def to_environment(self) -> None:
        """This process and those it starts find these settings."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Settings:
        """What `to_environment` left."""
        return cls(**json.loads(os.environ[VARIABLE]))
