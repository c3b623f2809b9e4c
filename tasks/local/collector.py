"""Python's collector of reference cycles, which by default looks for them at every 700 new objects."""

from __future__ import annotations

import gc


def collect_seldom() -> None:
    """Look for reference cycles at every 100,000 new objects.

    Imports make millions of objects that stay. The default thresholds cost a sixth of the time of importing
    Prefect, MLflow and Great Expectations.
    """
    gc.set_threshold(100_000, 20, 20)
