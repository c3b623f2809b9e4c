"""The deployments in prefect.yaml name flows that exist and parameters that they take."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
KEYS = {
    "name",
    "entrypoint",
    "description",
    "tags",
    "work_pool",
    "concurrency_limit",
    "schedules",
    "parameters",
}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["entrypoint"])
def test_flow_takes_the_parameters(deployment: dict[str, Any]) -> None:
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    given = deployment["parameters"]
    assert set(given) <= set(inspect.signature(flow.fn).parameters)
    assert set(given) <= set(flow.validate_parameters(given))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["entrypoint"])
def test_no_key_that_prefect_would_ignore(deployment: dict[str, Any]) -> None:
    assert set(deployment) <= KEYS


def test_nothing_runs_on_a_schedule_unasked() -> None:
    schedules = [schedule for each in DEPLOYMENTS for schedule in each.get("schedules", [])]
    assert schedules
    assert not any(schedule["active"] for schedule in schedules)
    assert all(schedule["timezone"] for schedule in schedules)
