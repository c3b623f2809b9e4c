"""One run of a silo's step, in a child of its own. Importing this imports all that a round needs."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

from flows.silo.step import silo_step
from models.errors import SiloFailed


def perform(asked: Any, told: Connection) -> None:
    """The step is done, and the worker is told what Prefect may know of a failure, or nothing."""
    try:
        silo_step.fn(asked)
    except SiloFailed as error:
        told.send_bytes(str(error).encode())
    else:
        told.send_bytes(b"")
