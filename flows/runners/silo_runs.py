"""Starts, reads and cancels the silos' runs in Prefect."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.messages.steps import StepOrder
from tasks.orchestration.retries import retry_while_away, retry_while_away_async


@contextlib.asynccontextmanager
async def client_without_retries() -> AsyncIterator[PrefectClient]:
    """Yield a client that does not retry by itself, as `tasks.orchestration.retries` requires."""
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        async with get_client() as client:
            yield client


async def start_run(client: PrefectClient, step_order: StepOrder, away_s: float) -> UUID:
    """Create the run that the silo's worker will start, and return its id.

    Args:
        client: a client that does not retry by itself.
        step_order: what the silo must do.
        away_s: seconds for which Prefect's server may be away.

    Raises:
        ObjectNotFound: the silo has no deployment.
        httpx.TransportError: the server was away for longer.
    """
    silo = step_order.order.client_id
    # The key prevents a second run if the server made one but went down before it could answer.
    once = str(uuid4())

    async def start() -> UUID:
        deployment = await client.read_deployment_by_name(f"silo-step/{silo}")
        run = await client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"asked": step_order.as_json()},
            name=f"{silo}-{step_order.step}-round-{step_order.order.round}",
            idempotency_key=once,
        )
        return run.id

    return await retry_while_away_async(start, away_s)


async def read_runs(client: PrefectClient, run_ids: Iterable[UUID], away_s: float) -> dict[UUID, FlowRun]:
    """Return those of these runs that Prefect has, by id.

    Raises:
        httpx.TransportError: the server was away for longer.
    """
    wanted = _filter_for(run_ids)
    found = await retry_while_away_async(lambda: client.read_flow_runs(flow_run_filter=wanted), away_s)
    return {run.id: run for run in found}


def read_run(run_id: UUID) -> FlowRun | None:
    """Return the run, or None if Prefect does not have it."""

    def read() -> list[FlowRun]:
        with get_client(sync_client=True) as client:
            return client.read_flow_runs(flow_run_filter=_filter_for([run_id]))

    return next(iter(retry_while_away(read)), None)


def set_state(run_id: UUID, state: State) -> None:
    """Set the run to this state, whatever its present state."""

    def write() -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run_id, state, force=True)

    retry_while_away(write)


def has_ended(run: FlowRun) -> bool:
    """Return whether the run is in a final state."""
    return run.state is not None and run.state.is_final()


def _filter_for(run_ids: Iterable[UUID]) -> FlowRunFilter:
    return FlowRunFilter(id=FlowRunFilterId(any_=list(run_ids)))
