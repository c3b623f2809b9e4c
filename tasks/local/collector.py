"""Python's collector of reference cycles, which by default looks for them at every 700 new objects."""

from __future__ import annotations

import atexit
import gc


def collect_seldom() -> None:
    """Look for reference cycles at every 100,000 new objects, and not at the end of the process.

    Imports make millions of objects that stay. The default thresholds cost a sixth of the time of importing
    Prefect, MLflow and Great Expectations, and the last look another two seconds. Call this first: functions
    for the end of the process that are registered later are called before its own.
    """
    gc.set_threshold(100_000, 20, 20)
    atexit.register(gc.freeze)
