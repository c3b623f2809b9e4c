"""Deployments and work pools in Prefect's API.

This module uses Prefect's client instead of `prefect deploy` (3.9.1). That command stops at the first
failure, ignores unknown keys, needs existing work pools, cannot show what would change, and resolves `{{
$NAME }}` of a pull step in the environment of the person who deploys. `RunnerDeployment.apply` is meant for
`serve`; its update empties no field, and removes schedules only where a setting allows it. Here each
deployment is one POST. Prefect handles it in one transaction as a replacement of the existing deployment, so
that it applies completely or not at all. Pull steps are sent unchanged, so that each worker resolves them in
its own environment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from models.errors import FedrecError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import WorkPool
    from prefect.client.schemas.responses import DeploymentResponse

_PAGE = 200


@dataclass(frozen=True)
class Schedule:
    """A schedule of a deployment.

    Attributes:
        slug: its name within the deployment.
        cron: five fields.
        timezone: an IANA name, such as Europe/Berlin.
        active: whether it makes runs. None keeps Prefect's value; a new schedule is then off.
    """

    slug: str
    cron: str
    timezone: str
    active: bool | None = None


@dataclass(frozen=True)
class Deployment:
    """A deployment as the file declares it or as Prefect has it; all values are JSON.

    Attributes:
        flow_name: name of the flow, the first part of the full name.
        name: the second part of the full name.
        entrypoint: the flow's module path.
        description: shown in Prefect's UI.
        tags: sorted.
        work_pool: name of the pool whose worker runs it.
        job_variables: how that worker starts a run.
        concurrency_limit: greatest number of simultaneous runs; None for no limit.
        collision_strategy: what happens to a run beyond the limit: ENQUEUE or CANCEL_NEW.
        schedules: by slug.
        parameters: of each run.
        parameter_schema: the form in the UI, an OpenAPI schema.
        pull_steps: what a worker does before a run.
    """

    flow_name: str
    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    work_pool: str
    job_variables: Mapping[str, Any] = field(default_factory=dict)
    concurrency_limit: int | None = None
    collision_strategy: str | None = None
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    parameter_schema: Mapping[str, Any] = field(default_factory=dict)
    pull_steps: tuple[Mapping[str, Any], ...] = ()

    @property
    def full_name(self) -> str:
        """The name in Prefect's notation: flow/deployment."""
        return f"{self.flow_name}/{self.name}"


@contextlib.contextmanager
def connected(api_url: str | None, again: str) -> Iterator[SyncPrefectClient]:
    """Yield a client of Prefect's API after checking that the API responds.

    Args:
        api_url: address of the API; by default the one in Prefect's settings.
        again: what to do once it answers, such as "deploy again", for the error's next step.

    Raises:
        FedrecError: no API is configured, or it does not answer.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

    url = api_url or get_current_settings().api.url
    if not url:
        # Prefect would start a server for the time of this command, and no worker would see its deployments.
        raise FedrecError(
            "The address of Prefect's API is not configured.",
            next_step="Start a server with make ui, then set its address with --api-url "
            "http://127.0.0.1:4200/api or in PREFECT_API_URL.",
        )
    with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        fault = client.api_healthcheck() or _other_service(client)
        if fault is not None:
            raise FedrecError(
                f"Prefect's API at {url} does not answer: {fault or type(fault).__name__}.",
                next_step="Nothing was changed. Check the address and that the server runs (make ui), then "
                f"{again}.",
                api_url=url,
            )
        yield client


def read_deployments(client: SyncPrefectClient) -> dict[str, tuple[UUID, Deployment]]:
    """Return all deployments of Prefect, as full name -> (id, deployment)."""
    flows = {}
    found: dict[str, tuple[UUID, Deployment]] = {}
    while page := client.read_deployments(limit=_PAGE, offset=len(found)):
        for response in page:
            if response.flow_id not in flows:
                flows[response.flow_id] = client.read_flow(response.flow_id).name
            deployment = _deployment(flows[response.flow_id], response)
            found[deployment.full_name] = (response.id, deployment)
    return found


def put_deployment(client: SyncPrefectClient, deployment: Deployment) -> UUID:
    """Create this deployment in Prefect, or replace the one of this name; returns its id."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.client.schemas.schedules import CronSchedule

    strategy = deployment.collision_strategy
    return client.create_deployment(
        flow_id=client.create_flow_from_name(deployment.flow_name),
        name=deployment.name,
        entrypoint=deployment.entrypoint,
        description=deployment.description,
        tags=list(deployment.tags),
        work_pool_name=deployment.work_pool,
        job_variables=dict(deployment.job_variables),
        concurrency_limit=deployment.concurrency_limit,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy(strategy))
        if strategy
        else None,
        schedules=[
            DeploymentScheduleCreate(
                schedule=CronSchedule(cron=each.cron, timezone=each.timezone),
                active=bool(each.active),
                slug=each.slug,
            )
            for each in deployment.schedules.values()
        ],
        parameters=dict(deployment.parameters),
        parameter_openapi_schema=dict(deployment.parameter_schema),
        enforce_parameter_schema=True,
        pull_steps=[dict(step) for step in deployment.pull_steps],
    )


def remove_deployment(client: SyncPrefectClient, deployment_id: UUID) -> None:
    """Delete a deployment from Prefect; the records of its past runs stay."""
    client.delete_deployment(deployment_id)


def read_pools(client: SyncPrefectClient) -> dict[str, tuple[str, ...]]:
    """Return all work pools, as name -> names of the job variables that they accept."""
    pools: list[WorkPool] = []
    while page := client.read_work_pools(limit=_PAGE, offset=len(pools)):
        pools += page
    return {pool.name: _variables(pool.base_job_template) for pool in pools}


def new_pool_variables() -> tuple[str, ...]:
    """Return the names of the job variables that a pool made by `create_pool` accepts."""
    from prefect.workers.process import ProcessWorker

    return _variables(ProcessWorker.get_default_base_job_template())


def create_pool(client: SyncPrefectClient, name: str) -> None:
    """Create a work pool of this name, whose workers start runs as processes."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))


def reason_of(error: Exception) -> str:
    """Return the reason why Prefect's API refused, without the request that its error repeats."""
    response = getattr(getattr(error, "http_exc", error), "response", None)
    if response is None:
        return str(error) or type(error).__name__
    try:
        body = response.json()
        return str(body.get("detail") or body["exception_detail"])
    except (ValueError, KeyError, AttributeError):
        return f"Prefect's API answered with status {response.status_code}"


def _other_service(client: SyncPrefectClient) -> ValueError | None:
    """Return an error if another service than Prefect's API answers at the address, such as its UI."""
    try:
        client.api_version()
    except ValueError:
        return ValueError("another service answers there; the address of Prefect's API ends in /api")
    return None


def _deployment(flow_name: str, found: DeploymentResponse) -> Deployment:
    limit, options = found.global_concurrency_limit, found.concurrency_options
    schedules = {}
    for number, each in enumerate(found.schedules):
        slug = each.slug or str(number)
        cron = str(getattr(each.schedule, "cron", each.schedule))
        zone = str(getattr(each.schedule, "timezone", None))
        schedules[slug] = Schedule(slug, cron, zone, each.active)
    return Deployment(
        flow_name=flow_name,
        name=found.name,
        entrypoint=found.entrypoint or "",
        description=found.description or "",
        tags=tuple(sorted(found.tags)),
        work_pool=found.work_pool_name or "",
        job_variables=found.job_variables,
        concurrency_limit=limit.limit if limit else None,
        collision_strategy=options.collision_strategy.value if options else None,
        schedules=schedules,
        parameters=found.parameters,
        parameter_schema=found.parameter_openapi_schema or {},
        pull_steps=tuple(found.pull_steps or ()),
    )


def _variables(template: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(template.get("variables", {}).get("properties", {})))
