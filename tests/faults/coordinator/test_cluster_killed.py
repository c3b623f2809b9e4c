"""A coordinator with a cluster of its own is killed (SIGKILL). Its job continues on threads."""

from __future__ import annotations

import signal
from typing import Any

import psutil
import pytest

from tests.faults.driven import driver, end_of
from tests.waiting import until

COMMIT = "tasks.jobs.journal:Journal.commit"


def processes_of(home: Any) -> list[psutil.Process]:
    """Return the processes whose home this is, except this one."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("FEDREC_HOME") == str(home.root)
            if mine and process.pid != psutil.Process().pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_job_killed_on_a_cluster_continues_on_threads_with_the_same_bytes(
    federation: Any, kind: str
) -> None:
    pytest.importorskip(f"prefect_{kind}", reason=f"the extra {kind!r} is not installed")
    on_cluster = federation.config(runner={"kind": kind, "threads": None, "processes": 2})
    with driver(on_cluster) as process:
        point = {"target": COMMIT, "when": "after", "call": 3, "settled": True}
        assert end_of(process, point) == -signal.SIGKILL
    # The cluster ends with its coordinator.
    until(lambda: not processes_of(federation.home), 60)
    on_threads = federation.config()
    result = federation.run(on_threads)
    federation.check(on_threads, result, {}, states={"CRASHED": 1, "COMPLETED": 1})
