"""Deployments, work pools and the automation against crashed runs, in Prefect's API.

Why Prefect's client and not `prefect deploy` (3.9.1): that command stops at the first failure, ignores keys
it does not know, wants its work pools made beforehand, never says what would change, and fixes `{{ $NAME }}`
of a pull step to the environment of whoever deploys. `RunnerDeployment.apply` is meant for `serve`, and its
update removes no schedule unless a setting asks for it, and empties no field. Here one POST a deployment,
which Prefect takes in one transaction and as a replacement of what is there, makes all of it true or none;
pull steps are handed over as they stand, so that each worker resolves them in its own environment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from models.errors import FedrecError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import WorkPool
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import AutomationCore

# Prefect allows no less than 30 s between heartbeats, and takes 180 s where nobody says otherwise.
HEARTBEAT_S = 30
HEARTBEAT_SETTING = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
MISSED_HEARTBEATS = 3

# Names of the states in which a run's process has nothing more to tell. "Refused" and "Stopped" are fedrec's
# own names of Completed; a name that is missing here costs one refused state change, since Prefect lets no
# automation change a run that has ended.
_ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut", "Suspended", "Refused", "Stopped")

_PAGE = 200


@dataclass(frozen=True)
class Schedule:
    """When a deployment runs by itself.

    Attributes:
        slug: its name within the deployment.
        cron: five fields.
        timezone: an IANA name, such as Europe/Berlin.
        active: whether it makes runs; None keeps what Prefect has, and is off at first.
    """

    slug: str
    cron: str
    timezone: str
    active: bool | None = None


@dataclass(frozen=True)
class Deployment:
    """A deployment as the file describes it, or as Prefect has it; all values are JSON.

    Attributes:
        flow_name: of the flow, which is the first part of the full name.
        name: the second part.
        entrypoint: the flow's module path.
        description: shown in Prefect's UI.
        tags: sorted.
        work_pool: whose worker runs it.
        job_variables: how that worker starts it.
        concurrency_limit: runs at once; None for any number.
        collision_strategy: what a run beyond the limit does: ENQUEUE or CANCEL_NEW.
        schedules: by slug.
        parameters: given to each run.
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
        """As Prefect writes it: flow/deployment."""
        return f"{self.flow_name}/{self.name}"


@contextlib.contextmanager
def connected(api_url: str | None) -> Iterator[SyncPrefectClient]:
    """A client of Prefect's API that answers.

    Args:
        api_url: of the API; Prefect's own settings by default.

    Raises:
        FedrecError: no API is configured, or it does not answer.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

    url = api_url or get_current_settings().api.url
    if not url:
        # Prefect would start a server for the time of this command, whose deployments no worker ever sees.
        raise FedrecError(
            "No Prefect API is named to deploy to.",
            next_step="Start one with make ui, then name it with --api-url http://127.0.0.1:4200/api or in "
            "PREFECT_API_URL.",
        )
    with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        fault = client.api_healthcheck() or _other_service(client)
        if fault is not None:
            raise FedrecError(
                f"Prefect's API at {url} does not answer: {fault or type(fault).__name__}.",
                next_step="Check the address and that the server runs (make ui), then deploy again; nothing "
                "was changed.",
                api_url=url,
            )
        yield client


def read_deployments(client: SyncPrefectClient) -> dict[str, tuple[UUID, Deployment]]:
    """All deployments that Prefect has, as full name -> (id, deployment)."""
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
    """Prefect has this deployment, whole and as it stands here; returns its id."""
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
    """Prefect has no such deployment; the records of its past runs stay."""
    client.delete_deployment(deployment_id)


def read_pools(client: SyncPrefectClient) -> dict[str, tuple[str, ...]]:
    """All work pools, as name -> names of the job variables they take."""
    pools: list[WorkPool] = []
    while page := client.read_work_pools(limit=_PAGE, offset=len(pools)):
        pools += page
    return {pool.name: _variables(pool.base_job_template) for pool in pools}


def new_pool_variables() -> tuple[str, ...]:
    """Names of the job variables that a pool of `create_pool` takes."""
    from prefect.workers.process import ProcessWorker

    return _variables(ProcessWorker.get_default_base_job_template())


def create_pool(client: SyncPrefectClient, name: str) -> None:
    """There is a work pool of this name, whose workers start runs as processes."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))


def crash_detection(mark: str, within: timedelta | None = None) -> AutomationCore:
    """The automation that calls a run CRASHED once its heartbeats stay away.

    Args:
        mark: only runs with this tag, which they have from their deployment.
        within: how long a heartbeat may stay away; three heartbeats by default.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    heartbeat = "prefect.flow-run.heartbeat"
    within = within or timedelta(seconds=MISSED_HEARTBEATS * HEARTBEAT_S)
    return AutomationCore(
        name=f"{mark}: crashed runs",
        description="Calls a run CRASHED whose process gives no sign of life; made by fedrec deploy.",
        tags=[mark],
        trigger=EventTrigger(
            after={heartbeat},
            # Not prefect.flow-run.*: a run that dies right after another change of state would go unseen.
            expect={heartbeat, *(f"prefect.flow-run.{name}" for name in _ENDS)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": ["tag"], "prefect.resource.id": [f"prefect.tag.{mark}"]}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat for {within.total_seconds():.0f} s; its process is taken for dead.",
            )
        ],
    )


def find_automation(client: SyncPrefectClient, wanted: AutomationCore) -> tuple[UUID | None, bool]:
    """(id of the automation of that name, whether it is as wanted); that it is switched on is not asked."""
    for found in client.read_automations_by_name(wanted.name):
        same = _automation(found) == _automation(wanted)
        return found.id, same
    return None, False


def put_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Prefect has this automation, once; switched off by hand it stays off."""
    known = client.read_automations_by_name(wanted.name)
    if known:
        client.update_automation(known[0].id, wanted.model_copy(update={"enabled": known[0].enabled}))
    else:
        client.create_automation(wanted)


def reason_of(error: Exception) -> str:
    """What Prefect's API said in refusing, without the whole request that its error repeats."""
    response = getattr(getattr(error, "http_exc", error), "response", None)
    if response is None:
        return str(error) or type(error).__name__
    try:
        body = response.json()
        return str(body.get("detail") or body["exception_detail"])
    except (ValueError, KeyError, AttributeError):
        return f"Prefect's API answered with status {response.status_code}"


def _other_service(client: SyncPrefectClient) -> ValueError | None:
    """What is wrong with an address that answers, but not as Prefect's API, such as that of its UI."""
    try:
        client.api_version()
    except ValueError:
        return ValueError("it answers, but not as Prefect's API, whose address ends in /api")
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


def _automation(one: AutomationCore) -> dict[str, Any]:
    compared = {"name", "description", "tags", "trigger", "actions"}
    dumped = one.model_dump(mode="json", include=compared)
    # Sets have no order, also as JSON, and ids differ between equal triggers.
    for key in ("after", "expect", "for_each"):
        dumped["trigger"][key] = sorted(dumped["trigger"][key])
    dumped["trigger"].pop("id", None)
    return dumped
