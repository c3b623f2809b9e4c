"""The silos' runs in Prefect: made, looked at, and called off."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.messages.steps import StepOrder
from tasks.orchestration.patience import patiently, patiently_awaited


@contextlib.asynccontextmanager
async def impatient_client() -> AsyncIterator[PrefectClient]:
    """A client that does not try again by itself, as `tasks.orchestration.patience` wants it."""
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        async with get_client() as client:
            yield client


async def start_run(client: PrefectClient, asked: StepOrder, away_s: float) -> UUID:
    """The id of the run that the silo's worker will pick up.

    Args:
        client: that does not try again by itself.
        asked: what the silo is to do.
        away_s: seconds for which Prefect's server may be away.

    Raises:
        ObjectNotFound: the silo was never deployed.
        httpx.TransportError: the server was away for longer.
    """
    silo = asked.order.client_id
    # One run, also where the server went down before it could say that it has made it.
    once = str(uuid4())

    async def start() -> UUID:
        deployment = await client.read_deployment_by_name(f"silo-step/{silo}")
        run = await client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"asked": asked.as_json()},
            name=f"{silo}-{asked.step}-round-{asked.order.round}",
            idempotency_key=once,
        )
        return run.id

    return await patiently_awaited(start, away_s)


async def look_at_runs(client: PrefectClient, run_ids: Iterable[UUID], away_s: float) -> dict[UUID, FlowRun]:
    """The runs that Prefect has of these, by id.

    Raises:
        httpx.TransportError: the server was away for longer.
    """
    wanted = _these(run_ids)
    found = await patiently_awaited(lambda: client.read_flow_runs(flow_run_filter=wanted), away_s)
    return {run.id: run for run in found}


def look_at_run(run_id: UUID) -> FlowRun | None:
    """The run, where Prefect has it."""

    def read() -> list[FlowRun]:
        with get_client(sync_client=True) as client:
            return client.read_flow_runs(flow_run_filter=_these([run_id]))

    return next(iter(patiently(read)), None)


def set_state(run_id: UUID, state: State) -> None:
    """The run is in this state, whatever it was in."""

    def write() -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run_id, state, force=True)

    patiently(write)


def is_over(run: FlowRun) -> bool:
    """Whether nothing more becomes of the run."""
    return run.state is not None and run.state.is_final()


def _these(run_ids: Iterable[UUID]) -> FlowRunFilter:
    return FlowRunFilter(id=FlowRunFilterId(any_=list(run_ids)))
