"""Deployed jobs as a person on call sees them: state, notification, log, page and graph in Prefect.

The runs belong to deployments that `fedrec deploy` has made, and this process is their worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from flows.cli import cli
from models.errors import InvalidConfig, JobStopped
from tasks.local.home import Home
from tests.servers.receivers import Webhook
from tests.waiting import until
from tests.worlds.small_jobs import small_job

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from flows.settings.training_config import TrainingConfig
    from tests.worlds.registered import World

pytestmark = pytest.mark.usefixtures("prefect_server")

FILE = """
name: shops
notifications:
  - {name: webhook, kind: webhook, about: [failed, crashed, refused, waiting], address: $FEDREC_WEBHOOK}
deployments:
  - {name: a, entrypoint: flows.train.federated_training, description: d, work_pool: {name: shops}}
  - {name: a, entrypoint: flows.promote.promotion, description: d, work_pool: {name: shops}}
"""


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as made:
        yield made


@pytest.fixture
def watched(tmp_path: Path, mlflow_home: Home, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> Webhook:
    """Return the receiver of the shipped notification, which is switched on for two deployments."""
    file = tmp_path / "prefect.yaml"
    file.write_text(FILE)
    monkeypatch.setenv("FEDREC_WEBHOOK", webhook.url)
    arguments = ["deploy", "--file", str(file), "--notify", "webhook"]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.exit_code == 0, done.output
    return webhook


@pytest.fixture
def work(client: SyncPrefectClient) -> Callable[..., FlowRun]:
    """Return a function that creates a run of a deployment, runs it here, and returns it as it ended."""
    from prefect.flow_engine import run_flow

    from flows.promote import promotion
    from flows.train import federated_training

    def worked(name: str, parameters: dict[str, Any], run_name: str | None = None) -> FlowRun:
        deployment = client.read_deployment_by_name(name)
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters, name=run_name)
        flow: Any = promotion if name.startswith("promotion") else federated_training
        run_flow(flow, flow_run=run, parameters=flow.validate_parameters(parameters), return_type="state")
        return client.read_flow_run(run.id)

    return worked


def log_of(client: SyncPrefectClient, run: FlowRun) -> list[tuple[int, str]]:
    """Return the (level, message) lines of a run's log that fedrec wrote."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    from tasks.orchestration.logs import send_run_log

    send_run_log()
    found = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
    return [(each.level, each.message) for each in found if each.name == "fedrec"]


def page_of(client: SyncPrefectClient, run: FlowRun) -> str:
    """Return the Markdown of the run's only artifact."""
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    [artifact] = client.read_artifacts(artifact_filter=wanted)
    assert artifact.key == "job-small"
    return str(artifact.data)


def as_parameters(config: TrainingConfig) -> dict[str, Any]:
    return {"config": config.model_dump(mode="json")}


def test_a_missed_quorum_is_a_failure_that_the_notification_tells(
    watched: Webhook, work: Any, client: SyncPrefectClient, partition_dir: Path
) -> None:
    from mlflow.tracking import MlflowClient

    path = partition_dir / "clients" / "birch" / "interactions.parquet"
    whole = path.read_bytes()
    path.unlink()
    config = small_job(partition_dir, federation={"quorum_share": 1.0}, runner={"threads": 1})

    run = work("federated-training/a", as_parameters(config))

    assert (run.state.type.value, run.state.name) == ("FAILED", "Failed")
    assert run.state.message.startswith("Round 1")
    assert "birch" in run.state.message
    told = watched.told(run.id)
    assert (told["flow"], told["deployment"], told["state"]) == ("federated-training", "a", "Failed")
    assert told["message"] == run.state.message
    assert run.state.message in told["text"]
    assert (told["flow_run"], run.name.startswith("small-")) == (run.name, True)
    mlflow = MlflowClient()
    experiment = mlflow.get_experiment_by_name("small").experiment_id
    [tracked] = mlflow.search_runs([experiment])
    assert tracked.info.status == "FAILED"
    assert tracked.data.tags["fedrec.stop_reason"] == run.state.message
    page = page_of(client, run)
    assert "The job stopped: Round 1" in page
    assert f"/#/experiments/{experiment}/runs/{tracked.info.run_id}?" in page
    assert f"/#/experiments/{experiment}?workflowType=machine_learning)" in page

    # The same job continues, and what it is no longer stopped by is gone.
    path.write_bytes(whole)
    again = work("federated-training/a", as_parameters(config), run_name="Second try")
    assert (again.state.name, again.name) == ("Completed", "Second try")
    [tracked] = mlflow.search_runs([experiment])
    assert tracked.info.status == "FINISHED"
    assert "fedrec.stop_reason" not in tracked.data.tags
    assert watched.about(again.id) == []


def test_a_job_s_rounds_are_lines_of_the_log_and_groups_of_the_graph(
    watched: Webhook, work: Any, client: SyncPrefectClient, partition_dir: Path
) -> None:
    import re

    config = small_job(partition_dir, federation={"rounds": 2}, evaluation={"every": 1})

    run = work("federated-training/a", as_parameters(config))

    assert run.state.name == "Completed"
    lines = [message for level, message in log_of(client, run) if level == 20]
    rounds = [line for line in lines if line.startswith("Round ")]
    for number, line in enumerate(rounds, 1):
        assert re.fullmatch(
            rf"Round {number}/2: 3 of 3 updates, validation NDCG@10 0\.\d{{4}}, \d+\.\d s", line
        ), line
    assert len(rounds) == 2
    assert any(line.startswith("Job small-") and line.endswith("begins.") for line in lines)
    page = page_of(client, run)
    assert page.startswith("# Job small-")
    assert page.count("| 3 of 3 |") == 2

    def groups() -> dict[str, list[str]]:
        graph = client.request("GET", f"/flow_runs/{run.id}/graph-v2").json()
        nodes = dict(graph["nodes"])
        return {
            node["label"]: sorted(
                each["label"] for each in nodes.values() if {"id": key} in each["encapsulating"]
            )
            for key, node in nodes.items()
            if node["label"].startswith("round ")
        }

    # Prefect stores task runs in the background.
    until(lambda: len(groups()) == 2 and all(map(bool, groups().values())), 30, what=f"groups {groups()}")
    for members in groups().values():
        assert len([each for each in members if each.startswith("train")]) == 3


def test_a_refused_promotion_is_told(
    watched: Webhook, work: Any, client: SyncPrefectClient, world: World
) -> None:
    world.register(1, None)

    run = work("promotion/a", {"model_name": "movies", "version": 1})

    assert (run.state.name, run.state.type.value) == ("Refused", "COMPLETED")
    told = watched.told(run.id)
    assert (told["state"], told["message"]) == ("Refused", "Gates that did not pass: quality, clients.")
    assert run.name.startswith("movies-")


def test_a_crash_is_told(watched: Webhook, client: SyncPrefectClient) -> None:
    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker
    from prefect.states import Running

    from tasks.orchestration.automations import crash_detection, put_automation

    # The shipped one waits for three heartbeats of 30 s; ten seconds is the least that Prefect accepts.
    put_automation(client, crash_detection("managed:shops", within=timedelta(seconds=10)))
    deployment = client.read_deployment_by_name("promotion/a")
    run = client.create_flow_run_from_deployment(deployment.id)
    client.set_flow_run_state(run.id, Running())
    emit_event(
        event="prefect.flow-run.heartbeat",
        resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"},
        related=[{"prefect.resource.id": "prefect.tag.managed:shops", "prefect.resource.role": "tag"}],
    )
    EventsWorker.drain_all()

    told = watched.told(run.id)

    assert (told["state"], told["message"]) == (
        "Crashed",
        "No heartbeat for 10 s; its process probably died.",
    )


def test_a_promotion_that_waits_for_a_person_is_told(watched: Webhook, client: SyncPrefectClient) -> None:
    from prefect.states import Cancelled, Paused, Running

    deployment = client.read_deployment_by_name("promotion/a")
    run, foreign = (
        client.create_flow_run_from_deployment(deployment.id),
        client.create_flow_run_from_deployment(deployment.id, name="typed"),
    )
    for each, ends in ((run, Paused(timeout_seconds=60)), (foreign, Cancelled())):
        client.set_flow_run_state(each.id, Running())
        client.set_flow_run_state(each.id, ends)

    assert watched.told(run.id)["state"] == "Paused"
    # Somebody has cancelled the other one, and knows.
    assert watched.about(foreign.id) == []


def test_a_job_of_silos_without_a_server_is_refused_before_any_work(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.train import run_locally

    runner = {"kind": "silos", "silos": ["ash"]}
    config = small_job(tmp_path, runner=runner, data={"items": str(tmp_path / "absent.csv"), "dir": None})
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(InvalidConfig) as caught:
        run_locally(config)

    assert caught.value.exit_code == 2
    assert "PREFECT_API_URL=http" in caught.value.next_step


@pytest.mark.usefixtures("mlflow_home")
def test_who_calls_the_flow_gets_a_stopped_job_as_an_error_with_the_result(partition_dir: Path) -> None:
    from flows.train import federated_training

    (partition_dir / "clients" / "ash" / "interactions.parquet").unlink()
    with pytest.raises(JobStopped) as caught:
        federated_training(small_job(partition_dir, federation={"quorum_share": 1.0}))

    assert caught.value.exit_code == 3
    assert caught.value.facts["result"]["status"] == "stopped"
    assert os.environ["FEDREC_HOME"] in caught.value.facts["result"]["report"]
