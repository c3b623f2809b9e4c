"""Clients as threads of this process: one that never answers holds up nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Event
from typing import Any

from prefect.futures import PrefectFuture, wait
from prefect.task_runners import ThreadPoolTaskRunner

from flows.runners.runner import Late
from tasks.clients.check_data import check_client
from tasks.clients.evaluate import compare_client, evaluate_client
from tasks.clients.train import train_client
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step
from tasks.orchestration.runs import give_up_tasks


class LateThread(Late):
    """A client whose thread is still busy, and occupied until it answers after all.

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


TASKS: dict[Step, Any] = {
    "check": check_client,
    "train": train_client,
    "evaluate": evaluate_client,
    "compare": compare_client,
}


class LocalThreads:
    """A runner whose clients are Prefect tasks of the flow that asks."""

    polling_s = 0.0

    def ask(
        self, step: Step, orders: Mapping[str, ClientOrder], deadline_s: float, **arguments: Any
    ) -> dict[str, Any]:
        """What each client answered to its order; see `flows.runners.runner.Runner`."""
        asked = {client_id: TASKS[step].submit(order, **arguments) for client_id, order in orders.items()}
        return answers(asked, deadline_s)

    def give_up(self, late: Iterable[Any]) -> None:
        """Who is still at work is not waited for, and Prefect knows."""
        give_up_tasks(each.task_run_id for each in late)


def answers(asked: Mapping[str, PrefectFuture[Any]], deadline_s: float) -> dict[str, Any]:
    """What each asked client answered: its result, the error that it failed with, or `LateThread`.

    Args:
        asked: client id -> future of the answer.
        deadline_s: seconds from now.
    """
    done, _ = wait(list(asked.values()), timeout=deadline_s)
    return {
        client_id: future.result(raise_on_failure=False)
        if future in done
        else LateThread(f"no answer within {deadline_s:g} s", future)
        for client_id, future in asked.items()
    }


class ImpatientThreads(ThreadPoolTaskRunner[Any]):
    """Prefect's threads, but a flow that is done does not wait for a client that never answered."""

    def cancel_all(self) -> None:
        """Whatever has not begun never begins; what has begun is left behind."""
        for event in self._cancel_events.values():
            event.set()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
