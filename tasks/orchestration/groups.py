"""Groups of task runs in Prefect's graph."""

from __future__ import annotations

from collections.abc import Callable

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.orchestration.logs import GROUP


def in_group(name: str, step: Callable[[], None]) -> None:
    """Run the step in a task of this name, so that Prefect draws the tasks that it starts as one group.

    A task costs some milliseconds; a flow within a flow costs a second.
    """

    @task(name=GROUP, task_run_name=name, cache_policy=NO_CACHE)
    def group() -> None:
        step()

    group()
