"""How Prefect runs a client's step, and which failures it retries."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE

from models.errors import FedrecError


def is_worth_retrying(task: Any, task_run: Any, state: Any) -> bool:
    """Return whether to retry a failed task: yes, unless it failed with an error of fedrec.

    Args:
        task, task_run: Prefect's arguments, unused.
        state: the failed state.
    """
    return not isinstance(state.result(raise_on_failure=False), FedrecError)


# Results only refer to objects in the exchange, so Prefect need not store or cache them.
CLIENT_TASK: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 2,
    "retry_delay_seconds": 1,
    "retry_condition_fn": is_worth_retrying,
}
