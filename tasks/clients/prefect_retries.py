"""How Prefect runs a client's step, and which failures are tried again."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE

from models.errors import FedrecError

RETRIES = 2
RETRY_DELAY_S = 1


def is_transient(error: object) -> bool:
    """Return whether to try a step again that failed with this error: yes, unless it is fedrec's own."""
    return not isinstance(error, FedrecError)


def is_worth_retrying(task: Any, task_run: Any, state: Any) -> bool:
    """Return whether to retry a failed task; see `is_transient`.

    Args:
        task, task_run: Prefect's arguments, unused.
        state: the failed state.
    """
    return is_transient(state.result(raise_on_failure=False))


# Results only refer to objects in the exchange, so Prefect need not store or cache them.
CLIENT_TASK: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": RETRIES,
    "retry_delay_seconds": RETRY_DELAY_S,
    "retry_condition_fn": is_worth_retrying,
}
