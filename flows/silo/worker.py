"""A silo's worker: Prefect's polling, with every step in a child that is forked from a ready process.

Prefect's own process worker starts an interpreter for each run, which imports for seconds, and runs in it
what the coordinator's deployment names: any command, any code. This one forks a process that has imported
everything, and knows the silo's one flow only, whatever the deployment says. That process asks Prefect for
nothing: its worker knows the order already, and tells Prefect what becomes of the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
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
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from tasks.orchestration.deployments import HEARTBEAT_S
from tasks.orchestration.patience import patiently_awaited

_LOOK_S = 0.1
# A step that is called off goes on for so long at most.
_CANCELLATION_LOOK_S = 5.0
# Prefect's server gives a worker the runs that are due by the worker's clock, so a silo whose clock is behind
# would see none. It asks for those of the next day, which are due now: a coordinator orders nothing ahead.
# Had somebody else done so, the server's own clock would keep the run from starting early.
_CLOCK_BEHIND_S = 86_400.0


class SiloWorker(BaseWorker[BaseJobConfiguration, BaseVariables, BaseWorkerResult]):
    """Runs `flows.silo.step.silo_step`, and nothing else, for the runs of its work pool."""

    type = "process"
    _display_name = "Silo"
    _description = "Runs the steps of one silo beside its data."

    def __init__(self, work_pool_name: str, **settings: Any) -> None:
        super().__init__(work_pool_name, **settings)
        self._fork: ForkServerContext = multiprocessing.get_context("forkserver")
        self._fork.set_forkserver_preload([f"{__package__}.silo_child"])

    @classmethod
    def __dispatch_key__(cls) -> str:
        """Not looked up by its type, which is Prefect's own worker's."""
        return "fedrec-silo"

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> BaseWorkerResult:
        """The step has ended, or was called off, and Prefect knows how; a step that died has an exit code."""
        from flows.silo.child import perform

        hears, tells = self._fork.Pipe(duplex=False)
        child = self._fork.Process(
            target=perform, args=(flow_run.parameters.get("asked"), tells), daemon=True
        )
        # The first one waits for the imports, during which the worker goes on.
        await anyio.to_thread.run_sync(child.start)
        tells.close()
        if task_status is not None:
            task_status.started(child.pid or 0)
        # The step is under way by now: nobody waits until Prefect has been told.
        await self._tell(flow_run, Running())
        called_off = await self._called_off(child, flow_run)
        if called_off:
            child.kill()
            await self._tell(flow_run, Cancelled(message="Called off."))
        await anyio.to_thread.run_sync(child.join)
        if child.exitcode == 0:
            failure = hears.recv_bytes().decode()
            await self._tell(flow_run, Failed(message=failure) if failure else Completed())
        hears.close()
        status_code = 0 if called_off else child.exitcode or 0
        return BaseWorkerResult(identifier=str(child.pid), status_code=status_code)

    async def _tell(self, flow_run: FlowRun, state: State) -> None:
        """Prefect knows the run's state, unless it has one that such a state cannot follow."""
        await patiently_awaited(
            lambda: self.client.set_flow_run_state(flow_run.id, state, force=state.is_cancelled())
        )

    async def _called_off(self, child: BaseProcess, flow_run: FlowRun) -> bool:
        """Waits until the child has ended by itself, or the coordinator does not wait for it any more."""
        looks = 0
        while child.exitcode is None:
            if looks % round(HEARTBEAT_S / _LOOK_S) == 0:
                await self._beat(flow_run)
            await anyio.sleep(_LOOK_S)
            looks += 1
            if looks % round(_CANCELLATION_LOOK_S / _LOOK_S) == 0 and await self._is_cancelling(flow_run.id):
                return child.exitcode is None
        return False

    async def _beat(self, flow_run: FlowRun) -> None:
        """Prefect's server is told that the run lives.

        In place of Prefect's own heartbeat, which has the time of the silo's clock. Were that behind, the
        server would miss the next one at once, and call the run crashed.
        """
        with contextlib.suppress(Exception):  # a server that is away hears the next one
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
        except Exception:  # noqa: BLE001 - a server that is away calls nothing off
            return False
        return state is not None and (state.is_cancelling() or state.is_cancelled())


def serve(pool: str) -> None:
    """Serves the pool's runs until SIGINT or SIGTERM; a second one ends it at once."""
    setup_signal_handlers_worker(os.getpid(), "the silo's worker", print)
    worker = SiloWorker(pool, name=pool, prefetch_seconds=_CLOCK_BEHIND_S, create_pool_if_not_found=False)
    asyncio.run(worker.start())
