"""A silo's worker: polls Prefect and runs each step in a child process, forked from a prepared process.

Prefect's own process worker starts an interpreter for each run, which spends seconds on imports, and runs
whatever the coordinator's deployment names: any command, any code. This worker forks a process that has
imported everything, and runs only the silo's one flow, whatever the deployment says. The child makes no
request to Prefect: the worker passes the order on and reports the run's state.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
from email.utils import parsedate_to_datetime
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any
from uuid import UUID

import anyio
from anyio.abc import TaskStatus
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Failed, Running
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from tasks.orchestration.automations import HEARTBEAT_S
from tasks.orchestration.retries import retry_while_away_async

# The forkserver ignores a module that it cannot import, and each step would then wait for the imports.
PRELOADED = f"{__package__}.child"
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_POLL_S = 0.1
# Seconds between two checks for a cancellation, so a cancelled step ends within this time.
_CANCELLATION_POLL_S = 5.0
# Prefect's server gives a worker the runs that are due by the worker's clock, so a silo whose clock is behind
# would get none. The worker therefore requests the runs of the next day as well. All of them are due now,
# because a coordinator orders nothing ahead. If someone else did, the server's own clock would still prevent
# the run from starting early.
_CLOCK_BEHIND_S = 86_400.0


class SiloWorker(BaseWorker[BaseJobConfiguration, BaseVariables, BaseWorkerResult]):
    """A worker that runs only `flows.silo.step.silo_step` for the runs of its work pool."""

    type = "process"
    _display_name = "Silo"
    _description = "Runs the steps of one silo on its data."

    def __init__(self, work_pool_name: str, **settings: Any) -> None:
        super().__init__(work_pool_name, **settings)
        self._fork: ForkServerContext = multiprocessing.get_context("forkserver")
        self._fork.set_forkserver_preload([PRELOADED])

    @classmethod
    def __dispatch_key__(cls) -> str:
        """Return a key of its own, because its type is that of Prefect's own worker."""
        return "fedrec-silo"

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> BaseWorkerResult:
        """Run the step in a child process until it ends or is cancelled, and set the run's state in Prefect.

        The result has the exit code of a child that died, else 0.
        """
        from flows.silo.child import run_step

        from_child, to_worker = self._fork.Pipe(duplex=False)
        child = self._fork.Process(
            target=run_step, args=(flow_run.parameters.get("order"), to_worker), daemon=True
        )
        # The first start waits for the imports. The worker continues in the meantime.
        await anyio.to_thread.run_sync(child.start)
        to_worker.close()
        if task_status is not None:
            task_status.started(child.pid or 0)
        # The step already runs, so it does not wait for this request.
        await self._set_state(flow_run, Running())
        try:
            cancelled = await self._cancelled(child, flow_run)
        except asyncio.CancelledError:  # the worker stops
            child.kill()
            raise
        if cancelled:
            child.kill()
            await self._set_state(flow_run, Cancelled(message="It was cancelled in Prefect."))
        await anyio.to_thread.run_sync(child.join)
        if child.exitcode == 0:
            failure = from_child.recv_bytes().decode()
            await self._set_state(flow_run, Failed(message=failure) if failure else Completed())
        from_child.close()
        status_code = 0 if cancelled else child.exitcode or 0
        return BaseWorkerResult(identifier=str(child.pid), status_code=status_code)

    async def _set_state(self, flow_run: FlowRun, state: State) -> None:
        """Set the run's state in Prefect, unless Prefect does not allow the change."""
        await retry_while_away_async(
            lambda: self.client.set_flow_run_state(flow_run.id, state, force=state.is_cancelled())
        )

    async def _cancelled(self, child: BaseProcess, flow_run: FlowRun) -> bool:
        """Wait until the child has ended or the coordinator cancels the run; returns whether it cancelled."""
        polls = 0
        while child.exitcode is None:
            if polls % round(HEARTBEAT_S / _POLL_S) == 0:
                await self._send_heartbeat(flow_run)
            await anyio.sleep(_POLL_S)
            polls += 1
            if polls % round(_CANCELLATION_POLL_S / _POLL_S) == 0 and await self._is_cancelling(flow_run.id):
                return child.exitcode is None
        return False

    async def _send_heartbeat(self, flow_run: FlowRun) -> None:
        """Send Prefect's server a heartbeat of the run, with the time of the server's clock.

        Prefect's own heartbeat has the time of the silo's clock. If that is behind, the server misses the
        next heartbeat at once and sets the run to CRASHED.
        """
        with contextlib.suppress(Exception):  # if the server is away, the next heartbeat reaches it
            answer = await self.client.request("GET", "/health")
            emit_event(
                "prefect.flow-run.heartbeat",
                resource={
                    "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
                    "prefect.resource.name": flow_run.name,
                },
                related=[
                    {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
                    for tag in flow_run.tags
                ],
                occurred=parsedate_to_datetime(answer.headers["date"]),
            )

    async def _is_cancelling(self, flow_run_id: UUID) -> bool:
        try:
            state = (await self.client.read_flow_run(flow_run_id)).state
        except ObjectNotFound:
            return True
        except Exception:  # noqa: BLE001 - a server that is away cancels nothing
            return False
        return state is not None and (state.is_cancelling() or state.is_cancelled())


def serve(pool: str) -> None:
    """Serve the pool's runs until SIGINT or SIGTERM; a second signal ends the worker at once."""
    worker = SiloWorker(pool, name=pool, prefetch_seconds=_CLOCK_BEHIND_S, create_pool_if_not_found=False)
    asyncio.run(_until_stopped(worker))


async def _until_stopped(worker: SiloWorker) -> None:
    # Prefect's own handler of SIGTERM sends SIGINT, which a process that a script started with "&" ignores.
    serving, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert serving is not None  # noqa: S101  # this function runs in it

    def stop(received: signal.Signals) -> None:
        print(f"Received {received.name}. Stopping the silo's worker.")  # noqa: T201
        for each in _STOPPING:
            loop.remove_signal_handler(each)
        serving.cancel()

    for each in _STOPPING:
        loop.add_signal_handler(each, stop, each)
    with contextlib.suppress(asyncio.CancelledError):
        await worker.start()
