"""Prefect tasks for groups of clients. A task for each of a thousand would cost more than their work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait
from prefect.states import Completed, Failed

from tasks.clients.shared_work import SharedWork, Unanswered
from tasks.clients.worker_group import Missed
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step
from tasks.orchestration.logs import write_run_log

# With more threads, a group has several of them.
_MOST_GROUPS = 8
# Seconds after the deadline within which Prefect's tasks end.
_GRACE_S = 5.0


class ClientGroup:
    """Clients that one Prefect task serves. Prefect does not look into it, as it does into lists of orders.

    Args:
        work: the work of all groups.
        number: the group's number there.
        orders: the group's orders, sorted by client.
        threads: number of clients that it serves at once.
    """

    def __init__(self, work: SharedWork, number: int, orders: Sequence[ClientOrder], threads: int) -> None:
        self._work, self._number, self._threads = work, number, threads
        self._round = orders[0].round
        self._client_ids = [order.client_id for order in orders]

    def __str__(self) -> str:
        first, last = self._client_ids[0], self._client_ids[-1]
        return f"round-{self._round}-{first}-to-{last}-{len(self._client_ids)}-clients"

    def serve(self) -> dict[str, Any]:
        """Serve the clients, and return each client's answer, error or `Unanswered`."""
        self._work.serve(self._number, self._threads)
        return self._work.answers(self._client_ids)


def ask_in_groups(
    step: Step,
    orders: Mapping[str, ClientOrder],
    do: Callable[[ClientOrder], Any],
    deadline_s: float,
    threads: int,
) -> dict[str, Any]:
    """Return each client's answer to its order, the error that it failed with, or an `Unanswered`.

    Args:
        step: what the clients do.
        orders: client id -> its order.
        do: returns a client's answer.
        deadline_s: seconds to wait.
        threads: number of clients that are served at once, of all groups together.
    """
    groups = cut([orders[client_id] for client_id in sorted(orders)], min(threads, _MOST_GROUPS))
    work = SharedWork(groups, do, deadline_s)
    futures = [
        _TASKS[step].submit(ClientGroup(work, number, group, len(range(number, threads, len(groups)))))
        for number, group in enumerate(groups)
    ]
    wait(futures, timeout=work.remaining_s + _GRACE_S)
    work.close()
    return work.answers(orders)


def cut(orders: Sequence[ClientOrder], count: int) -> list[Sequence[ClientOrder]]:
    """Return at most `count` groups of about the same size, none of them empty."""
    size = -(-len(orders) // count)
    return [orders[first : first + size] for first in range(0, len(orders), size)]


def ended_with(answers: Mapping[str, Any], data: Any = None) -> State[Any]:
    """Return the state of a task with these answers, and log what is missing.

    Args:
        answers: client id -> its answer, the error that it failed with, or why there is no answer.
        data: what the state carries.
    """
    answered = 0
    for client_id, answer in answers.items():
        if isinstance(answer, Exception):
            write_run_log(f"Client {client_id} failed. {type(answer).__name__}: {answer}")
        elif isinstance(answer, Unanswered | Missed):
            write_run_log(f"Client {client_id}: {answer}.")
        else:
            answered += 1
    message = f"{answered} of {len(answers)} clients answered."
    return Completed(message=message, data=data) if answered else Failed(message=message, data=data)


def tasks_of(serve: Callable[..., State[Any]]) -> dict[Step, Any]:
    """Return a Prefect task for each step, which lets `serve` serve its parameter `group`."""
    return {
        step: task(
            name=f"{step}-clients",
            task_run_name=f"{step}-{{group}}",
            cache_policy=NO_CACHE,
            persist_result=False,
        )(serve)
        for step in get_args(Step)
    }


def _serve(group: ClientGroup) -> State[None]:
    return ended_with(group.serve())


_TASKS = tasks_of(_serve)
