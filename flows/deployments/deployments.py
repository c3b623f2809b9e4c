"""Plans a deploy by comparing the declared deployments with Prefect's.

Nothing here talks to Prefect. A deployment belongs to a file if it has the file's mark, a tag made from the
file's name. A deployment without this mark belongs to someone else and is not changed, even if the name is
the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

from models.errors import FedrecError
from tasks.orchestration.automations import HEARTBEAT_S, HEARTBEAT_SETTING
from tasks.orchestration.deployments import Deployment

# Too long to show; the output only says that it differs.
_UNSHOWN = ("parameter_schema",)


@dataclass(frozen=True)
class Difference:
    """One field that a deploy would change.

    Attributes:
        field: its path with dots, such as parameters.config.seed.
        before, after: JSON values; None if the field is absent.
    """

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Update:
    """A deployment that differs between Prefect and its declaration."""

    deployment: Deployment
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class DeploymentPlan:
    """The changes of a deploy.

    Attributes:
        create: declared deployments whose names Prefect does not have.
        update: declared deployments that have the mark and differ in Prefect.
        unchanged: full names of deployments that are as declared.
        prune: full name -> id of deployments that have the mark and are no longer declared.
        foreign: full names of declared deployments that someone else has made in Prefect.
    """

    create: tuple[Deployment, ...]
    update: tuple[Update, ...]
    unchanged: tuple[str, ...]
    prune: Mapping[str, UUID]
    foreign: tuple[str, ...]


def mark_of(project: str) -> str:
    """Return the tag of all deployments of a file, made from the file's `name`."""
    return f"managed:{project}"


def marked(deployment: Deployment, project: str) -> Deployment:
    """Return the deployment with the file's mark and with heartbeats that reveal a crash soon."""
    variables = dict(deployment.job_variables)
    variables["env"] = {HEARTBEAT_SETTING: str(HEARTBEAT_S)} | (variables.get("env") or {})
    tags = tuple(sorted({*deployment.tags, mark_of(project)}))
    return replace(deployment, tags=tags, job_variables=variables)


def plan(
    declared: Sequence[Deployment], found: Mapping[str, tuple[UUID, Deployment]], mark: str, *, adopt: bool
) -> DeploymentPlan:
    """Return the changes that turn Prefect's deployments into the declared ones.

    Args:
        declared: all with the mark and with different names.
        found: Prefect's deployments, by full name.
        mark: the tag of the file's deployments.
        adopt: whether to take over deployments in Prefect that have a declared name but no mark.
    """
    create, update, unchanged, foreign = [], [], [], []
    for each in declared:
        known = found.get(each.full_name)
        if known is None:
            create.append(each)
        elif mark not in known[1].tags and not adopt:
            foreign.append(each.full_name)
        elif differences := differences_of(known[1], each):
            update.append(Update(with_switches(each, known[1]), differences))
        else:
            unchanged.append(each.full_name)
    names = {each.full_name for each in declared}
    prune = {name: id_ for name, (id_, each) in found.items() if mark in each.tags and name not in names}
    return DeploymentPlan(
        tuple(create), tuple(update), tuple(unchanged), dict(sorted(prune.items())), tuple(foreign)
    )


def differences_of(before: Deployment, after: Deployment) -> tuple[Difference, ...]:
    """Return the fields that differ, sorted by name; mappings are compared leaf by leaf."""
    old, new = _leaves(asdict(before)), _leaves(asdict(with_switches(after, before)))
    return tuple(
        Difference(name, None, None)
        if name in _UNSHOWN
        else Difference(name, _shown(old.get(name)), _shown(new.get(name)))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def with_switches(declared: Deployment, found: Deployment) -> Deployment:
    """Return the declared deployment; schedules without `active` are on or off as in Prefect."""
    schedules = {
        slug: replace(each, active=found.schedules[slug].active)
        if each.active is None and slug in found.schedules
        else replace(each, active=bool(each.active))
        for slug, each in declared.schedules.items()
    }
    return replace(declared, schedules=schedules)


def refuse_foreign(names: Sequence[str]) -> list[tuple[str, FedrecError]]:
    """Return one error for each declared name that belongs to someone else."""
    return [
        (
            name,
            FedrecError(
                f"Prefect has a deployment {name} that was not made from this file, so it is not changed.",
                next_step="Give yours another name, or take over that one with fedrec deploy --adopt.",
                deployment=name,
            ),
        )
        for name in names
    ]


def silo_deployment(name: str) -> dict[str, Any]:
    """Return the deployment of a silo's steps, in the form of an entry of the file.

    Args:
        name: of the silo, whose own worker serves the pool `silo-<name>`.
    """
    return {
        "name": name,
        "entrypoint": "flows.silo.step.silo_step",
        "description": f"One step of the silo {name} on its own data; the coordinator starts it.",
        "tags": ["silo"],
        "work_pool": {"name": f"silo-{name}"},
    }


def _leaves(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, each in value.items():
        name = f"{prefix}{key}"
        if isinstance(each, Mapping) and each and name not in _UNSHOWN:
            leaves |= _leaves(each, f"{name}.")
        # An empty mapping has no leaf, so it equals an absent one.
        elif each != {}:
            leaves[name] = each
    return leaves


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
