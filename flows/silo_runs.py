"""The silos' runs in Prefect: made, looked at, and called off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.prefect_patience import patiently, patiently_awaited
from tasks.steps import StepOrder

# silo -> the id of its run; silo -> why it has none.
Started = tuple[dict[str, UUID], dict[str, ObjectNotFound]]


async def start_runs(asked: Mapping[str, StepOrder], away_s: float) -> Started:
    """A run of each silo's deployment, which its worker will pick up; all are made at once.

    Args:
        asked: silo -> what it is to do.
        away_s: seconds for which Prefect's server may be away.

    Returns:
        The runs' ids by silo, and the silos that were never deployed.

    Raises:
        httpx.TransportError: the server was away for longer.
    """
    # One run each, also where the server went down before it could say that it has made it.
    once = {silo: str(uuid4()) for silo in asked}

    async def start(client: PrefectClient, silo: str) -> UUID | ObjectNotFound:
        step = asked[silo]
        try:
            deployment = await client.read_deployment_by_name(f"silo-step/{silo}")
            run = await client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"asked": step.as_json()},
                name=f"{silo}-{step.step}-round-{step.order.round}",
                idempotency_key=once[silo],
            )
        except ObjectNotFound as error:
            return error
        return run.id

    async with _impatient_client() as client:
        starts = (patiently_awaited(partial(start, client, silo), away_s) for silo in asked)
        made = dict(zip(asked, await asyncio.gather(*starts), strict=True))
    return (
        {silo: run for silo, run in made.items() if isinstance(run, UUID)},
        {silo: error for silo, error in made.items() if isinstance(error, ObjectNotFound)},
    )


async def look_at_runs(run_ids: Iterable[UUID], away_s: float) -> dict[UUID, FlowRun]:
    """The runs that Prefect has of these, by id.

    Raises:
        httpx.TransportError: the server was away for longer.
    """
    wanted = _these(run_ids)
    async with _impatient_client() as client:
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


@contextlib.asynccontextmanager
async def _impatient_client() -> AsyncIterator[PrefectClient]:
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        async with get_client() as client:
            yield client
