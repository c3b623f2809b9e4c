"""Each step of a client as a Prefect task of its own, and without one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.clients.check_data import profile_client
from tasks.clients.evaluate import compare_client, evaluate_client
from tasks.clients.retries import RETRIES, RETRY_DELAY_S, is_transient
from tasks.clients.sum_steps import SUM_STEPS
from tasks.clients.train import train_client, train_in_group
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step
from tasks.privacy.own_log import without_details

T = TypeVar("T")
# Without a task of its own, a client is one of many.
_IN_GROUP: dict[Step, Any] = {
    "check": profile_client,
    "train": train_in_group,
    "evaluate": evaluate_client,
    "compare": compare_client,
    **SUM_STEPS,
}


def private(step: Callable[..., T]) -> Callable[..., T]:
    """Return a step that fails with the kind of error alone if the job has noise; see `without_details`.

    An error of the system stays as it is: it names files, not data.
    """

    @functools.wraps(step)
    def done(order: ClientOrder, *args: Any, **kwargs: Any) -> T:
        try:
            return step(order, *args, **kwargs)
        except OSError:
            raise
        except Exception as error:
            if order.job.noise is None:
                raise
            failed = without_details(order.silo, error)
        # Here and not above, so that the error has no context that somebody could print.
        raise failed

    return done


def perform(step: Step, order: ClientOrder, **arguments: Any) -> Any:
    """Return the client's answer to its order, outside a Prefect task of its own."""
    return private(_IN_GROUP[step])(order, **arguments)


def _is_worth_retrying(task: Any, task_run: Any, state: Any) -> bool:
    """Return whether to retry a failed task; see `is_transient`.

    Args:
        task, task_run: Prefect's arguments, unused.
        state: the failed state.
    """
    return is_transient(state.result(raise_on_failure=False))


# Results only refer to objects in the exchange, so Prefect need not store or cache them.
_PLAIN: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
_RETRIED: dict[str, Any] = {
    **_PLAIN,
    "retries": RETRIES,
    "retry_delay_seconds": RETRY_DELAY_S,
    "retry_condition_fn": _is_worth_retrying,
}
TASKS: dict[Step, Any] = {
    "check": task(name="check-interactions", task_run_name="check-interactions-{order.client_id}", **_PLAIN)(
        private(profile_client)
    ),
    "train": task(
        name="train-client", task_run_name="train-{order.client_id}-round-{order.round}", **_RETRIED
    )(private(train_client)),
    "evaluate": task(
        name="evaluate-client", task_run_name="evaluate-{order.client_id}-round-{order.round}", **_RETRIED
    )(private(evaluate_client)),
    "compare": task(name="compare-client", task_run_name="compare-{order.client_id}", **_RETRIED)(
        private(compare_client)
    ),
}
