"""Runs one step of a silo in a child process. Importing this module imports everything that a round needs."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

from flows.silo.step import silo_step
from models.errors import SiloFailed


def run_step(step_order: Any, to_worker: Connection) -> None:
    """Do the step, then send the worker the message of a failure that Prefect may know, or empty bytes."""
    try:
        silo_step.fn(step_order)
    except SiloFailed as error:
        to_worker.send_bytes(str(error).encode())
    else:
        to_worker.send_bytes(b"")
