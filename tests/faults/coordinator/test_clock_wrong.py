"""Coordinators whose clock is an hour off, one ahead and one behind, work on one job after the other."""

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
    """The environment of a process whose clock is off; a wrong clock still ticks, so timers are right."""
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


def test_an_hour_ahead_and_an_hour_behind(federation: Any) -> None:
    config = federation.config(federation={"rounds": 5})
    for offset, call in (("+1h", 3), ("-1h", 2)):
        with driver(config, faked(offset)) as process:
            code = end_of(process, {"target": COMMIT, "when": "after", "call": call})
            assert code == -signal.SIGKILL
    result = federation.run(config)
    federation.check(config, result, lost={}, states={"CRASHED": 2, "COMPLETED": 1})
    times = [datetime.fromisoformat(record.committed_at) for record in federation.journal(result).committed()]
    # Three rounds by the first clock, two by the second, one by the right one; the rounds stay in order.
    assert [round((each - times[0]).total_seconds() / 3600) for each in times] == [0, 0, 0, -2, -2, -1]
