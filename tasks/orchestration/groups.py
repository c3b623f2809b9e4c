"""Groups of task runs in Prefect's graph."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.orchestration.logs import GROUP

_step: ContextVar[Callable[[], None]] = ContextVar("step")


def in_group(name: str, step: Callable[[], None]) -> None:
    """Run the step in a task of this name, so that Prefect draws the tasks that it starts as one group.

    A task costs some milliseconds; a flow within a flow costs a second.
    """
    before = _step.set(step)
    try:
        _GROUP(name)
    finally:
        _step.reset(before)


def _run(name: str) -> None:
    _step.get()()


# Prefect sends it to the processes of a cluster with each task inside it. So it must not hold the step.
_GROUP = task(name=GROUP, task_run_name="{name}", cache_policy=NO_CACHE)(_run)
