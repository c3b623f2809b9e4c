"""The breakdown of a job's time adds up to its total."""

from __future__ import annotations

import time

import psutil
import pytest

from tasks.jobs.stopwatch import Stopwatch
from tasks.jobs.timings import timings_of

ACTIVITIES = (
    *("train", "merge", "contracts", "tracking", "evaluate", "baselines", "report"),
    *("transfer", "polling"),
)


def clock_of(age_s: float, **seconds: float) -> Stopwatch:
    """Return a clock that was started `age_s` ago."""
    return Stopwatch(started=time.perf_counter() - age_s, seconds=dict(seconds))


def test_all_parts_add_up_to_the_total():
    age = 100.0
    parts = {activity: float(number) for number, activity in enumerate(ACTIVITIES, start=1)}
    found = timings_of(clock_of(age, startup=6.0, **parts), training_cpu_s=2.0).by_name()
    seconds = ("startup_s", "orchestration_s", *(f"{activity}_s" for activity in ACTIVITIES))
    assert sum(found[name] for name in seconds) == pytest.approx(found["total_s"], abs=0.01)
    assert {name: found[f"{name}_s"] for name in ACTIVITIES} == parts
    total = time.time() - psutil.Process().create_time()
    assert found["total_s"] == pytest.approx(total, abs=1.0)
    # 100 s since the clock started, less 6 s of opening the job and the 45 s of the named parts.
    assert found["orchestration_s"] == pytest.approx(100 - 6 - 45, abs=0.1)
    assert found["startup_s"] == pytest.approx(total - 100 + 6, abs=1.0)
    # All but start-up and the 6 s of baselines, over 2 s in LightFM.
    assert found["overhead_ratio"] == pytest.approx((100 - 6 - 6) / 2, abs=0.1)


def test_without_training_there_is_no_ratio():
    found = timings_of(clock_of(1.0), training_cpu_s=0.0)
    assert found.overhead_ratio is None
    assert found.training_cpu_s == 0.0
    assert found.train_s == 0.0
