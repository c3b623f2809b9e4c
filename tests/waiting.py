"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(happened: Callable[[], Any], seconds: float = 300.0, *, what: str = "the wait") -> Any:
    """Return what `happened` returns, once that is true. The seconds only end a test that hangs.

    Raises:
        AssertionError: `what` has not happened in time.
    """
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if found := happened():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} was not over within {seconds} s")
