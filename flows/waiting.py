"""Waiting for clients no longer than is allowed: one that never answers holds up nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any
from uuid import UUID

from prefect.futures import PrefectFuture, wait
from prefect.task_runners import ThreadPoolTaskRunner


@dataclass(frozen=True)
class Late:
    """A client that did not answer in time; it may still be at work.

    Attributes:
        reason: for people.
        task_run_id: of what it was asked.
        ended: set when it answers after all.
    """

    reason: str
    task_run_id: UUID
    ended: Event

    @property
    def is_at_work(self) -> bool:
        """Whether it still is; it occupies one of the runner's threads as long."""
        return not self.ended.is_set()

    def __str__(self) -> str:
        return self.reason


def answers(asked: Mapping[str, PrefectFuture[Any]], deadline_s: float) -> dict[str, Any]:
    """What each asked client answered: its result, the error that it failed with, or `Late`.

    Args:
        asked: client id -> future of the answer.
        deadline_s: seconds from now.
    """
    done, _ = wait(list(asked.values()), timeout=deadline_s)
    return {
        client_id: future.result(raise_on_failure=False)
        if future in done
        else _late(f"no answer within {deadline_s:g} s", future)
        for client_id, future in asked.items()
    }


def _late(reason: str, future: PrefectFuture[Any]) -> Late:
    late = Late(reason, future.task_run_id, Event())
    future.add_done_callback(lambda _: late.ended.set())
    return late


class ImpatientThreads(ThreadPoolTaskRunner[Any]):
    """Prefect's threads, but a flow that is done does not wait for a client that never answered."""

    def cancel_all(self) -> None:
        """Whatever has not begun never begins; what has begun is left behind."""
        for event in self._cancel_events.values():
            event.set()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
