"""Coordinators whose clocks are one hour ahead and one hour behind work on one job after each other."""

from __future__ import annotations

import os
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.driven import driver, end_of

COMMIT = "tasks.jobs.journal:Journal.commit"


def faked(offset: str) -> dict[str, str]:
    """Return the environment of a process whose clock is off. It still ticks, so timers are right."""
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
    if library is None:
        pytest.skip("libfaketime is missing; infra/install-test-servers.sh installs it on Debian")
    folders = [str(Path(__file__).parents[1] / "faketime"), os.environ.get("PYTHONPATH", "")]
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
    }


def test_a_job_under_clocks_an_hour_ahead_and_behind_ends_as_under_a_right_clock(federation: Any) -> None:
    config = federation.config(federation={"rounds": 5})
    for offset, call in (("+1h", 3), ("-1h", 2)):
        with driver(config, faked(offset)) as process:
            code = end_of(process, {"target": COMMIT, "when": "after", "call": call})
            assert code == -signal.SIGKILL
    result = federation.run(config)
    federation.check(config, result, lost={}, states={"CRASHED": 2, "COMPLETED": 1})
    times = [datetime.fromisoformat(record.committed_at) for record in federation.journal(result).committed()]
    # Three rounds were committed under the first clock, two under the second, one under the right one.
    assert [round((each - times[0]).total_seconds() / 3600) for each in times] == [0, 0, 0, -2, -2, -1]
