"""Clients that share Prefect tasks give the answers of those with tasks of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import flow_run

from flows.runners.local_threads import LocalThreads, NonWaitingThreads
from models.errors import CorruptArtifact
from models.federation.model import GlobalModel
from models.recommenders.lightfm.training import initial_items
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import encode_model
from tasks.messages.orders import ClientOrder, StartingPoint
from tasks.orchestration.runs import wait_until_recorded
from tests.worlds.jobs import job_of

NAMES = ("ash", "birch", "cedar")
pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def orders(tmp_path: Path, partition_dir: Path) -> dict[str, ClientOrder]:
    """Return orders to train round 1. Cedar's names a state that it does not have."""
    job = job_of(partition_dir, tmp_path)
    catalog = open_partition(partition_dir).catalog
    model = GlobalModel(0, catalog.digest, initial_items(len(catalog), 4, 1))
    base = job.exchange.put("job-1/models", encode_model(model))
    found = {name: ClientOrder(job, name, 1, base, StartingPoint(None, 0)) for name in NAMES}
    return found | {"cedar": replace(found["cedar"], start=StartingPoint("job-1", 7))}


def asked(
    runner: LocalThreads, orders: Mapping[str, ClientOrder], threads: int
) -> tuple[dict[str, Any], list[TaskRun]]:
    """Return the clients' answers, and the task runs that Prefect has of them, sorted by name."""
    flow_run_ids = []

    @flow(name="asks", task_runner=NonWaitingThreads(max_workers=threads), persist_result=False)
    def asks() -> None:
        flow_run_ids.append(flow_run.id)
        answers.update(runner.ask("train", orders, 60.0))

    answers: dict[str, Any] = {}
    asks()
    wait_until_recorded(str(flow_run_ids[0]))
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=flow_run_ids))  # type: ignore[arg-type]
        )
    return answers, sorted(found, key=lambda each: each.name)


def test_groups_give_the_same_answers_in_few_task_runs(orders):
    alone, own = asked(LocalThreads(2, client_tasks=3), orders, 2)
    assert [each.name for each in own] == [f"train-{name}-round-1" for name in NAMES]
    together, one = asked(LocalThreads(1, client_tasks=2), orders, 1)
    shared, two = asked(LocalThreads(2, client_tasks=0), orders, 2)
    assert [each.name for each in one] == ["train-round-1-ash-to-cedar-3-clients"]
    assert one[0].state.message == "2 of 3 clients answered."
    assert [(each.name, each.state_name, each.state.message) for each in two] == [
        ("train-round-1-ash-to-birch-2-clients", "Completed", "2 of 2 clients answered."),
        ("train-round-1-cedar-to-cedar-1-clients", "Failed", "0 of 1 clients answered."),
    ]
    for answers in (alone, together, shared):
        assert list(answers) == list(NAMES)
        assert [answers[name].update.sha256 for name in NAMES[:2]] == [
            alone[name].update.sha256 for name in NAMES[:2]
        ]
        assert isinstance(answers["cedar"], CorruptArtifact)
        assert "of round 7 are missing" in str(answers["cedar"])
