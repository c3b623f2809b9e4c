"""A runner whose clients work in the processes of a Dask or Ray cluster, in groups."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID, uuid4

from prefect import State
from prefect.futures import PrefectFuture

from flows.runners.client_groups import cut, ended_with, tasks_of
from flows.runners.client_tasks import perform
from flows.runners.clusters import Cluster
from flows.runners.runner import Late
from models.errors import InvalidConfig, SiloFailed
from tasks.clients.work_signs import WorkSigns
from tasks.clients.worker_group import ClusterGroup, GroupAnswers, Missed, SharedPlaces
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step
from tasks.orchestration.runs import cancel_tasks

# Groups for each task that the cluster runs at once, so that processes that are done early get more.
_GROUPS = 4
# Seconds after the deadline within which a group's answers arrive.
_GRACE_S = 5.0

Group = Sequence[ClientOrder]


class LateOnCluster(Late):
    """A client on a cluster that missed the deadline.

    Args:
        reason: for people.
        client_id: the client.
        signs: of the clients that still work.
    """

    def __init__(self, reason: str, client_id: str, signs: WorkSigns) -> None:
        super().__init__(reason)
        self._client_id, self._signs = client_id, signs

    @property
    def is_at_work(self) -> bool:
        """Whether its process gives signs that it still works."""
        return self._signs.is_given(self._client_id)


class ClusterRunner:
    """A runner whose clients work in the processes of a cluster, a group of them in each of its tasks.

    Args:
        connect: returns the cluster; called before the first step.
        silos_dir: parent of the clients' private folders.
    """

    polling_s = 0.0

    def __init__(self, connect: Callable[[], Cluster], silos_dir: Path) -> None:
        self._connect = connect
        self._cluster: Cluster | None = None
        self._places = SharedPlaces.marked(silos_dir, uuid4().hex)
        self._signs = WorkSigns(self._places.mark)
        self._unended: list[UUID] = []

    def ask(
        self, step: Step, orders: Mapping[str, ClientOrder], deadline_s: float, **arguments: Any
    ) -> dict[str, Any]:
        """Return each client's answer to its order; see `flows.runners.runner.Runner`.

        Raises:
            InvalidConfig: there is no cluster, or a process does not share the coordinator's folders.
        """
        if self._cluster is None:
            self._cluster = self._connect()
        asked = _Asked(self._cluster, step, partial(perform, step, **arguments), self._places, deadline_s)
        answers = asked.answers([orders[client_id] for client_id in sorted(orders)]) if orders else {}
        self._unended += asked.unended
        return {
            client_id: LateOnCluster(f"{found} within {deadline_s:g} s", client_id, self._signs)
            if isinstance(found := answers[client_id], Missed)
            else found
            for client_id in orders
        }

    def abandon(self, late: Iterable[Any]) -> None:
        """Set the tasks that never ended to CANCELLED in Prefect, and leave the cluster."""
        try:
            cancel_tasks(self._unended)
        finally:
            if self._cluster is not None:
                self._cluster.close()
            self._signs.remove()


class _Asked:
    """One step, whose groups are handed to the cluster as it has places for them.

    A group gets the seconds that are left when it is handed over, because the clocks of machines differ.

    A group whose process died is asked again, in case a machine was lost. If it dies again, it is asked when
    no other group is at work, in halves down to a single client. So one that kills its process fails alone.

    Attributes:
        unended: Prefect's ids of the tasks that did not end.
    """

    def __init__(
        self,
        cluster: Cluster,
        step: Step,
        do: Callable[[ClientOrder], Any],
        places: SharedPlaces,
        deadline_s: float,
    ) -> None:
        self._cluster, self._step, self._do, self._places = cluster, step, do, places
        self._deadline = time.monotonic() + deadline_s
        self._waiting: deque[Group] = deque()
        self._suspects: deque[tuple[Group, Exception]] = deque()
        self._died: set[str] = set()
        self._running: dict[UUID, _Running] = {}
        self._ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
        self._answers: dict[str, Any] = {}
        self.unended: list[UUID] = []

    def answers(self, orders: Group) -> dict[str, Any]:
        """Return each client's answer to its order, the error that it failed with, or a `Missed`."""
        self._waiting.extend(cut(orders, max(1, self._cluster.slots()) * _GROUPS))
        while self._fill_places():
            try:
                future = self._ended.get(timeout=max(0.0, self._deadline + _GRACE_S - time.monotonic()))
            except Empty:
                break
            self._take(self._running.pop(future.task_run_id))
        for each in self._running.values():
            self.unended.append(each.future.task_run_id)
            with contextlib.suppress(Exception):
                self._cluster.cancel(each.future)
            self._answer_all(each.group, Missed(has_begun=True))
        for group in self._waiting:
            self._answer_all(group, Missed(has_begun=False))
        for group, error in self._suspects:
            self._fail(group, error)
        return self._answers

    def _fill_places(self) -> bool:
        """Hand over groups while there are places and time, and return whether any group is at work."""
        while time.monotonic() < self._deadline:
            if self._waiting and len(self._running) < max(1, self._cluster.slots()):
                self._hand_over(self._waiting.popleft(), alone=False)
            elif self._suspects and not self._running:
                self._hand_over(self._suspects.popleft()[0], alone=True)
            else:
                break
        return bool(self._running)

    def _hand_over(self, group: Group, *, alone: bool) -> None:
        clients = ClusterGroup(group, self._do, self._deadline - time.monotonic(), self._places)
        future = self._cluster.submit(_TASKS[self._step], {"group": clients})
        self._running[future.task_run_id] = _Running(future, group, alone)
        future.add_done_callback(self._ended.put)

    def _take(self, ended: _Running) -> None:
        try:
            found = ended.future.result(raise_on_failure=False)
        except Exception as error:  # noqa: BLE001 - Dask's and Ray's errors have no class in common
            self.unended.append(ended.future.task_run_id)
            self._ask_again(ended, error)
            return
        if isinstance(found, GroupAnswers):
            self._answers |= found.received(time.perf_counter())
        elif isinstance(found, InvalidConfig) and self._step == "check":
            raise found
        else:
            self._answer_all(ended.group, found)

    def _ask_again(self, ended: _Running, error: Exception) -> None:
        group = ended.group
        clients = {order.client_id for order in group}
        if ended.alone and len(group) > 1:
            self._suspects.extend((half, error) for half in cut(group, 2))
        elif ended.alone:
            self._fail(group, error)
        elif self._died.isdisjoint(clients):
            self._waiting.append(group)
        else:
            self._suspects.append((group, error))
        self._died |= clients

    def _fail(self, group: Group, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        for order in group:
            self._answers[order.client_id] = SiloFailed(
                f"The process that served client {order.client_id!r} ended. {why}"
            )

    def _answer_all(self, group: Group, answer: Any) -> None:
        self._answers |= {order.client_id: answer for order in group}


@dataclass(frozen=True)
class _Running:
    """A group at work, with or without others."""

    future: PrefectFuture[Any]
    group: Group
    alone: bool


def _serve(group: ClusterGroup) -> State[GroupAnswers]:
    found = group.serve()
    return ended_with(found.answers, found)


_TASKS = tasks_of(_serve)
