"""Reads prefect.yaml strictly, because Prefect ignores unknown keys.

All faults are found before anything is changed, and reported together with their lines. Templates `{{ }}` are
allowed only in pull steps, which each worker resolves in its own environment.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from flows.deployments.parameter_form import faults_of_parameters, parameter_form
from models.errors import InvalidConfig
from tasks.orchestration.deployments import Deployment, Schedule
from tasks.orchestration.notifications import Notification, Occasion

if TYPE_CHECKING:
    from prefect import Flow

Path_ = tuple[str | int, ...]


def _cron(text: str) -> str:
    from prefect.client.schemas.schedules import CronSchedule

    CronSchedule(cron=text)  # raises a ValueError, which becomes the fault
    return text


def _timezone(name: str) -> str:
    known = zoneinfo.available_timezones()
    if name not in known:
        raise ValueError(f"unknown time zone {name!r}.{_nearest(name, known)}")
    return name


def _limit(value: Any) -> Any:
    return {"limit": value} if isinstance(value, int) else value


Name = Annotated[str, Field(pattern=r"^[^/%&><\s][^/%&><]{0,127}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScheduleEntry(_Entry):
    """A schedule of a deployment; without `active` it is off until someone switches it on."""

    slug: Name
    cron: Annotated[str, AfterValidator(_cron)]
    timezone: Annotated[str, AfterValidator(_timezone)]
    active: bool | None = None


class LimitEntry(_Entry):
    """The limit on simultaneous runs of a deployment."""

    limit: int = Field(ge=1)
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"


class PoolEntry(_Entry):
    """The work pool whose worker runs a deployment, and the variables with which it starts a run."""

    name: Name
    job_variables: dict[str, Any] = {}


class DeploymentEntry(_Entry):
    """One deployment."""

    name: Name
    entrypoint: str = Field(pattern=r"^[A-Za-z_][\w.]*\.\w+$")
    description: str = Field(min_length=1)
    tags: list[str] = []
    work_pool: PoolEntry
    concurrency_limit: Annotated[LimitEntry, BeforeValidator(_limit)] | None = None
    schedules: list[ScheduleEntry] = []
    parameters: dict[str, Any] = {}


class NotificationEntry(_Entry):
    """A notification about runs; without `active` it is off until someone switches it on."""

    name: Name
    kind: Literal["webhook", "email"]
    about: list[Occasion] = Field(min_length=1)
    address: str = Field(pattern=r"^\$[A-Z_][A-Z0-9_]*$")
    active: bool | None = None


class FileEntry(_Entry):
    """The whole file; `definitions` contains YAML anchors and is not read."""

    name: Name
    prefect_version: str | None = Field(None, alias="prefect-version")
    definitions: Any = None
    pull: list[dict[str, dict[str, Any]]] = []
    notifications: list[NotificationEntry] = []
    deployments: list[DeploymentEntry] = Field(min_length=1)


_MODELS: dict[tuple[str, ...], type[_Entry]] = {
    (): FileEntry,
    ("notifications",): NotificationEntry,
    ("deployments",): DeploymentEntry,
    ("deployments", "work_pool"): PoolEntry,
    ("deployments", "concurrency_limit"): LimitEntry,
    ("deployments", "schedules"): ScheduleEntry,
}


@dataclass(frozen=True)
class DeploymentFile:
    """The content of a file.

    Attributes:
        project: the file's `name`, which marks its deployments.
        deployments: in the file's order, then the added ones.
        notifications: in the file's order.
    """

    project: str
    deployments: tuple[Deployment, ...]
    notifications: tuple[Notification, ...] = ()


def read_deployment_file(path: Path, added: Sequence[Mapping[str, Any]] = ()) -> DeploymentFile:
    """Return the file's deployments after checking that flows, parameters, times and limits are valid.

    Args:
        path: of the YAML file.
        added: further deployments in the form of the file's entries, such as one per silo.

    Raises:
        InvalidConfig: the file has faults. The message lists all of them with their lines, and `faults`
            contains them one by one.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = yaml.safe_load(text)
        lines = _lines(yaml.compose(text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidConfig(f"The deployments in {path} cannot be read: {error}.") from error
    if not isinstance(raw, dict):
        raise InvalidConfig(f"{path} contains a {type(raw).__name__}, expected keys and values.")
    faults = list(_templates(raw))
    try:
        if isinstance(raw.get("deployments"), list):
            raw = raw | {"deployments": raw["deployments"] + list(added)}
        file = FileEntry.model_validate(raw)
    except ValidationError as error:
        faults += [_fault(each["loc"], each["type"], each["msg"]) for each in error.errors()]
        raise _invalid(path, faults, lines) from error
    deployments = []
    for number, entry in enumerate(file.deployments):
        flow, wrong = _flow(entry)
        at: Path_ = ("deployments", number)
        faults += [((*at, *where), message) for where, message in wrong]
        if flow is not None:
            deployments.append(_deployment(entry, flow, file.pull))
    faults += [*_repeated_names(file, deployments), *_pull_faults(file.pull)]
    if faults:
        raise _invalid(path, faults, lines)
    notifications = (
        Notification(each.name, each.kind, tuple(each.about), each.address[1:], each.active)
        for each in file.notifications
    )
    return DeploymentFile(file.name, tuple(deployments), tuple(notifications))


def _flow(entry: DeploymentEntry) -> tuple[Flow[..., Any] | None, list[tuple[Path_, str]]]:
    """Return an entry's flow, or None if it cannot be found, and the faults of entrypoint and parameters."""
    from prefect import Flow

    module_name, _, attribute = entry.entrypoint.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        return None, [(("entrypoint",), f"{module_name!r} cannot be imported: {error}.")]
    flow = getattr(module, attribute, None)
    if not isinstance(flow, Flow):
        flows = [name for name, each in vars(module).items() if isinstance(each, Flow)]
        hint = _nearest(attribute, flows)
        return None, [(("entrypoint",), f"{module_name!r} has no flow {attribute!r}.{hint}")]
    scheduled = bool(entry.schedules)
    wrong = faults_of_parameters(flow, entry.parameters, complete=scheduled)
    return flow, [(("parameters", *where), message) for where, message in wrong]


def _deployment(
    entry: DeploymentEntry, flow: Flow[..., Any], pull: Sequence[Mapping[str, Any]]
) -> Deployment:
    limit = entry.concurrency_limit
    return Deployment(
        flow_name=flow.name,
        name=entry.name,
        entrypoint=entry.entrypoint,
        description=entry.description,
        tags=tuple(sorted(set(entry.tags))),
        work_pool=entry.work_pool.name,
        job_variables=entry.work_pool.job_variables,
        concurrency_limit=limit.limit if limit else None,
        collision_strategy=limit.collision_strategy if limit else None,
        schedules={
            each.slug: Schedule(each.slug, each.cron, each.timezone, each.active) for each in entry.schedules
        },
        parameters=entry.parameters,
        parameter_schema=parameter_form(flow),
        pull_steps=tuple(pull),
    )


def _templates(raw: Mapping[str, Any]) -> Iterator[tuple[Path_, str]]:
    for where, value in _leaves({key: each for key, each in raw.items() if key != "pull"}, ()):
        if isinstance(value, str) and "{{" in value:
            yield where, f"templates are allowed only in pull steps, got {value!r}."


def _repeated_names(file: FileEntry, deployments: Iterable[Deployment]) -> Iterator[tuple[Path_, str]]:
    seen: set[str] = set()
    for number, each in enumerate(deployments):
        if each.full_name in seen:
            yield ("deployments", number, "name"), f"another deployment has the name {each.full_name}."
        seen.add(each.full_name)
    notified = [each.name for each in file.notifications]
    for number, name in enumerate(notified):
        if name in notified[:number]:
            yield ("notifications", number, "name"), f"another notification has the name {name!r}."
    for number, entry in enumerate(file.deployments):
        slugs = [schedule.slug for schedule in entry.schedules]
        for place, slug in enumerate(slugs):
            if slug in slugs[:place]:
                where = ("deployments", number, "schedules", place, "slug")
                yield where, f"another schedule has the slug {slug!r}."


def _pull_faults(pull: Sequence[Mapping[str, Mapping[str, Any]]]) -> Iterator[tuple[Path_, str]]:
    for number, step in enumerate(pull):
        if len(step) != 1:
            yield ("pull", number), f"expected one function with its arguments, got {len(step)} functions."
            continue
        [(name, arguments)] = step.items()
        module_name, _, function_name = name.rpartition(".")
        try:
            function = getattr(importlib.import_module(module_name), function_name)
            inspect.signature(function).bind(**arguments)
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            yield ("pull", number, name), f"the step {name} cannot be called: {error}."


def _fault(where: Path_, kind: str, message: str) -> tuple[Path_, str]:
    if kind != "extra_forbidden":
        return where, f"{message}."
    model = _MODELS.get(tuple(part for part in where[:-1] if isinstance(part, str)))
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    return where, f"unknown key {where[-1]!r}.{_nearest(str(where[-1]), known)}"


def _nearest(wrong: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _invalid(path: Path, faults: Iterable[tuple[Path_, str]], lines: Mapping[Path_, int]) -> InvalidConfig:
    located = []
    for where, message in faults:
        line = next(lines[where[:size]] for size in range(len(where), -1, -1) if where[:size] in lines)
        located.append((line, f"line {line}: {'.'.join(str(part) for part in where)}: {message}"))
    texts = [text for _, text in sorted(located)]
    counted = "1 fault" if len(texts) == 1 else f"{len(texts)} faults"
    return InvalidConfig(
        f"{path} has {counted}:\n" + "\n".join(f"  {text}" for text in texts) + "\n",
        next_step="Nothing was changed. Correct the file and deploy again.",
        faults=texts,
    )


def _lines(node: yaml.Node | None, at: Path_ = ()) -> dict[Path_, int]:
    """Return the line of every key and item by its path; for content of a YAML anchor, the anchor's lines."""
    if node is None:
        return {(): 1}
    found = {at: node.start_mark.line + 1}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found |= _lines(value, (*at, key.value)) | {(*at, key.value): key.start_mark.line + 1}
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            found |= _lines(value, (*at, number))
    return found


def _leaves(value: Any, at: Path_) -> Iterator[tuple[Path_, Any]]:
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, each in items:
        yield from _leaves(each, (*at, key))
    if not isinstance(value, Mapping | list):
        yield at, value
