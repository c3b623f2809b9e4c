"""Ctrl-C during a command that runs a flow: one line instead of the log of all that it interrupts."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# Of a process that ends by SIGINT, as shells count it.
EXIT_CODE = 128 + signal.SIGINT


@contextlib.contextmanager
def quiet_interrupts() -> Iterator[None]:
    """Log nothing more after a Ctrl-C within the block. The `KeyboardInterrupt` is raised as usual.

    Prefect reports the interruption of the flow and of each task as an error. Its records of the runs say so
    as well.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    logging.disable(logging.CRITICAL)
    raise KeyboardInterrupt
