"""The parameters of a run: a deployment's own, with single values set on the command line."""

from __future__ import annotations

import copy
import difflib
import importlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from flows.deployments.parameter_form import faults_of_parameters
from flows.settings.overrides import apply_override
from models.errors import InvalidConfig, NotFound
from tasks.orchestration.deployments import Deployment

# The parameter whose keys need no prefix, because `fedrec train --set` takes them like that.
_CONFIG = "config"


def find_deployment(found: Mapping[str, tuple[UUID, Deployment]], name: str) -> tuple[UUID, Deployment]:
    """Return the id and the deployment of this name.

    Args:
        found: Prefect's deployments by full name.
        name: the full name, such as promotion/ml-100k, or its second part if no other deployment has it.

    Raises:
        NotFound: there is none, or there are several.
    """
    if name in found:
        return found[name]
    same = sorted(full for full, (_, each) in found.items() if each.name == name)
    if len(same) == 1:
        return found[same[0]]
    if same:
        raise NotFound(
            f"{len(same)} deployments have the name {name!r}.", next_step=f"Name one: {', '.join(same)}."
        )
    near = difflib.get_close_matches(name, found, n=3) or sorted(found)
    raise NotFound(
        f"Prefect has no deployment {name!r}.",
        next_step=f"It has: {', '.join(near)}." if near else "Create the deployments with fedrec deploy.",
    )


def run_parameters(deployment: Deployment, overrides: Iterable[str]) -> dict[str, Any]:
    """Return the parameters that differ from the deployment's own, complete and checked.

    Args:
        deployment: the deployment.
        overrides: `key=value` with dotted keys. Keys of `config` stand without that word.

    Raises:
        InvalidConfig: a key is unknown, or a value does not fit.
    """
    parameters = copy.deepcopy(dict(deployment.parameters))
    names = deployment.parameter_schema.get("properties", {})
    changed = set()
    for override in overrides:
        head = override.partition("=")[0].partition(".")[0]
        full = override if head in names or _CONFIG not in names else f"{_CONFIG}.{override}"
        name = full.partition("=")[0].partition(".")[0]
        if name not in names:
            raise _unknown(deployment, name, names)
        apply_override(parameters, full)
        changed.add(name)
    _check(deployment, parameters)
    return {name: parameters[name] for name in sorted(changed)}


def _check(deployment: Deployment, parameters: Mapping[str, Any]) -> None:
    """Raise `InvalidConfig` unless the parameters fit the flow. Prefect checks those of foreign flows."""
    module_name, _, attribute = deployment.entrypoint.rpartition(".")
    try:
        flow = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError):
        return
    faults = faults_of_parameters(flow, parameters, complete=True)
    if faults:
        raise InvalidConfig(f"{deployment.full_name}: " + " ".join(text for _, text in faults))


def _unknown(deployment: Deployment, name: str, names: Collection[str]) -> InvalidConfig:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(names)}."
    return InvalidConfig(f"{deployment.full_name} has no parameter {name!r}.", next_step=hint, key=name)
