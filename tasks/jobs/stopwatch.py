"""Measures where the wall time of a job goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """Adds up wall seconds by activity, for one round or one job.

    Attributes:
        started: time of the start, on the clock of `time.perf_counter`.
        seconds: activity -> seconds.
    """

    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def measure(self, activity: str) -> Iterator[None]:
        """Add the wall time of the block to `activity`."""
        before = time.perf_counter()
        try:
            yield
        finally:
            self.add(activity, time.perf_counter() - before)

    def add(self, activity: str, seconds: float) -> None:
        """Add seconds to `activity`."""
        self.seconds[activity] = self.seconds.get(activity, 0.0) + seconds

    def add_all(self, other: Stopwatch) -> None:
        """Add all of another stopwatch's seconds."""
        for activity, seconds in other.seconds.items():
            self.add(activity, seconds)

    @property
    def elapsed(self) -> float:
        """Return the wall seconds since the start."""
        return time.perf_counter() - self.started


def busy_seconds(spans: list[tuple[float, float]]) -> float:
    """Return the wall seconds during which at least one of the (start, end) spans was active.

    Clients overlap, so the sum of their times would exceed the wall time.
    """
    busy, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        if end > until:
            busy += end - max(start, until)
            until = end
    return busy


def share_of_wall_time(wall: float, *busy: float) -> tuple[float, ...]:
    """Divide wall seconds among activities that ran in parallel, in proportion to their thread seconds."""
    together = sum(busy)
    return tuple(wall * each / together if together else 0.0 for each in busy)
