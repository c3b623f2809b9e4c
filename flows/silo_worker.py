"""A silo's worker: looks for runs of its work pool, and does each in a child forked from a ready process.

Why not Prefect's own process worker: it starts an interpreter for each run, which imports for seconds, and
runs in it what the coordinator's deployment names, any command and any code. This one knows the silo's one
flow only, whatever the deployment says. It also asks little of Prefect's server, whose answers are most of
what a round costs: looking for runs only reads, where each poll of Prefect's worker writes too, and a step is
under way before Prefect is told that it runs.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import time
from collections.abc import Awaitable, Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar
from uuid import UUID, uuid4

import click
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus
from prefect.events import RelatedResource, emit_event
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running
from prefect.utilities.processutils import setup_signal_handlers_worker

from flows.silo_child import perform
from tasks.prefect_deploy import HEARTBEAT_S
from tasks.prefect_patience import patiently_awaited

# A step that is called off goes on for so long at most.
_CANCELLATION_LOOK_S = 5.0

T = TypeVar("T")


class SiloWorker:
    """Does `flows.silo.silo_step`, and nothing else, for the runs of a work pool.

    Args:
        pool: whose runs; the worker has the same name.
        client: of the coordinator's Prefect; best one that does not try again by itself.
        query_s: seconds between two looks for runs.
    """

    def __init__(self, pool: str, client: PrefectClient, query_s: float) -> None:
        self._pool = pool
        self._client = client
        self._query_s = query_s
        self._mark = f"Taken by worker {uuid4()}."
        self._begun: dict[UUID, asyncio.Task[None]] = {}
        self._fork: ForkServerContext = multiprocessing.get_context("forkserver")
        self._fork.set_forkserver_preload([perform.__module__])

    async def serve(self) -> None:
        """Goes on until it is cancelled; a server that is away is waited for.

        Raises:
            httpx.HTTPStatusError: the server refuses, as it does without its password.
        """
        # The imports are under way before there is a run.
        await asyncio.to_thread(forkserver.ensure_running)
        click.echo(f"Worker {self._pool!r} started!", err=True)
        alive_until = 0.0
        while True:
            if time.monotonic() >= alive_until:
                await self._patiently(self._say_alive)
                alive_until = time.monotonic() + HEARTBEAT_S
            for run in await self._patiently(self._waiting_runs):
                if run.id not in self._begun:
                    self._begun[run.id] = asyncio.create_task(self._do(run))
            await asyncio.sleep(self._query_s)

    async def _say_alive(self) -> None:
        """Prefect shows worker, pool and deployment as ready, where there are such."""
        try:
            await self._client.get_scheduled_flow_runs_for_work_pool(self._pool)
            await self._client.send_worker_heartbeat(self._pool, self._pool, HEARTBEAT_S)
        except ObjectNotFound:
            _tell_owner(f"Prefect has no work pool {self._pool!r} yet; fedrec deploy makes it.")

    async def _waiting_runs(self) -> list[FlowRun]:
        """All that are scheduled, whenever: an order is due at once, and a silo's clock may be wrong."""
        scheduled = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        return await self._client.read_flow_runs(
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool])),
            flow_run_filter=FlowRunFilter(state=scheduled),
        )

    async def _do(self, run: FlowRun) -> None:
        """The run is done and Prefect knows how, unless somebody else has taken it."""
        try:
            if await self._patiently(lambda: self._take(run)):
                final = await self._done(run)
                await self._set_state(run, final)
        except ObjectNotFound:
            pass  # somebody has deleted the run
        except Exception as error:  # noqa: BLE001 - one run must not end the worker
            _tell_owner(f"Run {run.name}: {error!r}.")
        finally:
            del self._begun[run.id]

    async def _take(self, run: FlowRun) -> bool:
        """Whether the run is this worker's."""
        result: OrchestrationResult[Any] = await self._client.set_flow_run_state(
            run.id, Pending(message=self._mark)
        )
        if result.status == SetStateStatus.ACCEPT:
            return True
        # Perhaps it was taken by an earlier try, to which the answer was lost.
        state = await self._state(run)
        return state is not None and state.is_pending() and state.message == self._mark

    async def _done(self, run: FlowRun) -> State:
        """The state in which the run has ended, by itself or because nobody waits for it any more."""
        hears, tells = self._fork.Pipe(duplex=False)
        child = self._fork.Process(target=perform, args=(run.parameters.get("asked"), tells), daemon=True)
        await asyncio.to_thread(child.start)
        tells.close()
        ended = asyncio.create_task(_end_of(child))
        try:
            state = await self._set_state(run, Running())
            beat_due = 0.0
            while not ended.done():
                if state is not None and (state.is_cancelling() or state.is_cancelled()):
                    return Cancelled(message="Called off.")
                if time.monotonic() >= beat_due:
                    _beat(run)
                    beat_due = time.monotonic() + HEARTBEAT_S
                await asyncio.wait([ended], timeout=_CANCELLATION_LOOK_S)
                if not ended.done():
                    state = await self._patiently(lambda: self._state(run))
            child.join()
            try:
                told = hears.recv_bytes().decode()
            except EOFError:
                return Crashed(message=f"The step's process ended with exit code {child.exitcode}.")
            return Failed(message=told) if told else Completed()
        finally:
            ended.cancel()
            if child.is_alive():
                child.kill()
                child.join()
            hears.close()

    async def _state(self, run: FlowRun) -> State | None:
        return (await self._client.read_flow_run(run.id)).state

    async def _set_state(self, run: FlowRun, state: State) -> State | None:
        """The state that the run has now, if Prefect says so: not always this one."""
        force = state.is_cancelled()
        result = await self._patiently(lambda: self._client.set_flow_run_state(run.id, state, force=force))
        return result.state

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """What the call returns; it is made again while Prefect's server is away or too busy."""
        return await patiently_awaited(
            call,
            math.inf,
            lambda error: _tell_owner(f"Prefect is away or busy, and is asked again: {error!r}."),
        )


def serve(pool: str) -> None:
    """Serves the pool's runs until SIGINT or SIGTERM; a second one ends it at once."""
    setup_signal_handlers_worker(os.getpid(), "the silo's worker", print)
    asyncio.run(_serve(pool))


async def _serve(pool: str) -> None:
    async with get_client() as client:
        await SiloWorker(pool, client, get_current_settings().worker.query_seconds).serve()


async def _end_of(child: BaseProcess) -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(child.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(child.sentinel)


def _beat(run: FlowRun) -> None:
    """A sign of life of the run, in the form that `tasks.prefect_deploy.crash_detection` looks for."""
    emit_event(
        event="prefect.flow-run.heartbeat",
        resource={"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name},
        related=[
            RelatedResource({"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"})
            for tag in run.tags
        ],
    )


def _tell_owner(text: str) -> None:
    click.echo(text, err=True)
