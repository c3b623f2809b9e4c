"""How Prefect runs a client's step, and which failures are worth another try."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE

from models.errors import FedrecError


def is_worth_retrying(task: Any, task_run: Any, state: Any) -> bool:
    """Return whether a failed task may succeed when it runs again: not if fedrec itself refused.

    Args:
        task, task_run: as Prefect gives them; unused.
        state: the failed state.
    """
    return not isinstance(state.result(raise_on_failure=False), FedrecError)


# Results are references to what lies in the exchange already, so Prefect need not keep or cache them.
CLIENT_TASK: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 2,
    "retry_delay_seconds": 1,
    "retry_condition_fn": is_worth_retrying,
}
