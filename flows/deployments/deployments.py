"""What a deploy would do: the deployments that are declared beside those that Prefect has.

Nothing here talks to Prefect. A deployment belongs to a file when it bears the file's mark, a tag made of the
file's name; what bears no such mark is somebody else's and stays as it is, also where the names are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

from models.errors import FedrecError
from tasks.orchestration.deployments import HEARTBEAT_S, HEARTBEAT_SETTING, Deployment

# Too long to be shown; that it differs is enough.
_UNSHOWN = ("parameter_schema",)


@dataclass(frozen=True)
class Difference:
    """One field that a deploy would change.

    Attributes:
        field: with dots, such as parameters.config.seed.
        before, after: JSON values; None where there is none.
    """

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Update:
    """A deployment that Prefect has otherwise than it is declared."""

    deployment: Deployment
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Plan:
    """What a deploy would do with the deployments.

    Attributes:
        create: declared, and Prefect has none of that name.
        update: declared, marked, and different in Prefect.
        unchanged: full names of those that are as declared.
        prune: full name -> id of those that bear the mark and are no longer declared.
        foreign: full names of declared ones that somebody else has made in Prefect.
    """

    create: tuple[Deployment, ...]
    update: tuple[Update, ...]
    unchanged: tuple[str, ...]
    prune: Mapping[str, UUID]
    foreign: tuple[str, ...]


def mark_of(project: str) -> str:
    """The tag that all deployments of a file bear, by the file's `name`."""
    return f"managed:{project}"


def marked(deployment: Deployment, project: str) -> Deployment:
    """The deployment with the file's mark, and with heartbeats often enough for crashes to be seen soon."""
    variables = dict(deployment.job_variables)
    variables["env"] = {HEARTBEAT_SETTING: str(HEARTBEAT_S)} | (variables.get("env") or {})
    tags = tuple(sorted({*deployment.tags, mark_of(project)}))
    return replace(deployment, tags=tags, job_variables=variables)


def plan(
    declared: Sequence[Deployment], found: Mapping[str, tuple[UUID, Deployment]], mark: str, *, adopt: bool
) -> Plan:
    """What would make Prefect's deployments the declared ones.

    Args:
        declared: all with the mark, and with different names.
        found: what Prefect has, by full name.
        mark: the tag of what is ours.
        adopt: whether declared names that bear no mark in Prefect are taken over.
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
    return Plan(tuple(create), tuple(update), tuple(unchanged), dict(sorted(prune.items())), tuple(foreign))


def differences_of(before: Deployment, after: Deployment) -> tuple[Difference, ...]:
    """The fields that differ, in order of their names; a mapping is compared leaf by leaf."""
    old, new = _leaves(asdict(before)), _leaves(asdict(with_switches(after, before)))
    return tuple(
        Difference(name, None, None)
        if name in _UNSHOWN
        else Difference(name, _shown(old.get(name)), _shown(new.get(name)))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def with_switches(declared: Deployment, found: Deployment) -> Deployment:
    """The declared deployment; where it does not say so, schedules are on or off as Prefect has them."""
    schedules = {
        slug: replace(each, active=found.schedules[slug].active)
        if each.active is None and slug in found.schedules
        else replace(each, active=bool(each.active))
        for slug, each in declared.schedules.items()
    }
    return replace(declared, schedules=schedules)


def refuse_foreign(names: Sequence[str]) -> list[tuple[str, FedrecError]]:
    """One error for each declared name that is somebody else's."""
    return [
        (
            name,
            FedrecError(
                f"Prefect has a deployment {name} that was not made by this file, so it is left alone.",
                next_step="Give yours another name, or take that one over with fedrec deploy --adopt.",
                deployment=name,
            ),
        )
        for name in names
    ]


def silo_deployment(name: str) -> dict[str, Any]:
    """The deployment of a silo's steps, in the form of an entry of the file.

    Args:
        name: of the silo; its own worker serves the pool `silo-<name>`.
    """
    return {
        "name": name,
        "entrypoint": "flows.silo.step.silo_step",
        "description": f"One step of the silo {name}, beside its own data; started by the coordinator.",
        "tags": ["silo"],
        "work_pool": {"name": f"silo-{name}"},
    }


def _leaves(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, each in value.items():
        name = f"{prefix}{key}"
        if isinstance(each, Mapping) and each and name not in _UNSHOWN:
            leaves |= _leaves(each, f"{name}.")
        # An empty mapping has no leaf: it is the same as none.
        elif each != {}:
            leaves[name] = each
    return leaves


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
