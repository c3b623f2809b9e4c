"""A runner whose clients are threads of this process; one that never answers does not delay the others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from threading import Event
from typing import Any

from prefect.futures import PrefectFuture, wait
from prefect.task_runners import ThreadPoolTaskRunner

from flows.runners.client_groups import ask_in_groups
from flows.runners.client_tasks import TASKS, perform
from flows.runners.runner import Late
from tasks.clients.shared_work import Unanswered, answers_here
from tasks.clients.sum_steps import SUM_STEPS
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step
from tasks.orchestration.runs import cancel_tasks


class LateThread(Late):
    """A client that missed the deadline and whose thread is busy until it answers.

    Args:
        reason: for people.
        future: of its answer.
    """

    def __init__(self, reason: str, future: PrefectFuture[Any]) -> None:
        super().__init__(reason)
        self.task_run_id = future.task_run_id
        self._ended = Event()
        future.add_done_callback(lambda _: self._ended.set())

    @property
    def is_at_work(self) -> bool:
        """Whether its thread is still busy."""
        return not self._ended.is_set()


class LateInGroup(Late):
    """A client of a group that missed the deadline.

    Args:
        client: the client.
    """

    def __init__(self, client: Unanswered) -> None:
        super().__init__(str(client))
        self._client = client

    @property
    def is_at_work(self) -> bool:
        """Whether the client has begun and has not ended."""
        return self._client.is_at_work


class LocalThreads:
    """A runner whose clients are Prefect tasks of the calling flow, or share a few if there are many.

    Args:
        threads: number of clients that work at once.
        client_tasks: number of clients up to which each has a task of its own.
    """

    polling_s = 0.0

    def __init__(self, threads: int, client_tasks: int) -> None:
        self._threads, self._client_tasks = threads, client_tasks

    def ask(
        self, step: Step, orders: Mapping[str, ClientOrder], deadline_s: float, **arguments: Any
    ) -> dict[str, Any]:
        """Return each client's answer to its order; see `flows.runners.runner.Runner`."""
        if step not in SUM_STEPS and len(orders) <= self._client_tasks:
            futures = {
                client_id: TASKS[step].submit(order, **arguments) for client_id, order in orders.items()
            }
            return wait_for_answers(futures, deadline_s)
        do = partial(perform, step, **arguments)
        # Messages of secure sums take milliseconds, of which a Prefect task would be most.
        found = (
            answers_here([*orders.values()], do, deadline_s, self._threads)
            if step in SUM_STEPS
            else ask_in_groups(step, orders, do, deadline_s, self._threads)
        )
        return {
            client_id: LateInGroup(answer) if isinstance(answer, Unanswered) else answer
            for client_id, answer in found.items()
        }

    def abandon(self, late: Iterable[Any]) -> None:
        """Set the tasks of these clients to CANCELLED in Prefect, without waiting for them."""
        cancel_tasks(each.task_run_id for each in late if isinstance(each, LateThread))


def threads_of(setting: int | None) -> int:
    """Return the number of clients that work at once; without a setting, one per core."""
    return setting or os.cpu_count() or 1


def wait_for_answers(futures: Mapping[str, PrefectFuture[Any]], deadline_s: float) -> dict[str, Any]:
    """Return the answer of each client: its result, the error that it failed with, or a `LateThread`.

    Args:
        futures: client id -> future of its answer.
        deadline_s: seconds to wait.
    """
    done, _ = wait(list(futures.values()), timeout=deadline_s)
    return {
        client_id: future.result(raise_on_failure=False)
        if future in done
        else LateThread(f"no answer within {deadline_s:g} s", future)
        for client_id, future in futures.items()
    }


class NonWaitingThreads(ThreadPoolTaskRunner[Any]):
    """Prefect's thread runner, except that a finished flow does not wait for clients that never answered."""

    def use_threads(self, count: int) -> None:
        """Run at most this number of tasks at once; call it in the flow, before the first task.

        The number stands in the flow's configuration, and Prefect makes a deployment's runner before the flow
        reads it.
        """
        self.cancel_all()
        self._started = False
        self._max_workers = count
        self.__enter__()

    def cancel_all(self) -> None:
        """Cancel the tasks that have not begun; those that have begun run on without being waited for."""
        for event in self._cancel_events.values():
            event.set()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
