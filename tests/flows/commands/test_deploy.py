"""`fedrec deploy` against a real Prefect server: what it creates, leaves, removes and reports."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flows.cli import cli
from models.errors import FedrecError, InvalidConfig
from tasks.coordinator.trust_store import TrustStore
from tasks.local.home import Home

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

CHECKOUT = Path(__file__).parents[3]

ENTRY = """
  - name: {name}
    entrypoint: flows.promote.rolling_back
    description: {description}
    work_pool: {{name: {pool}}}
"""
CRASHES = "managed:shops: crashed runs"

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    """Return a client of a server without deployments, pools and automations."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as made:
        for deployment in made.read_deployments():
            made.delete_deployment(deployment.id)
        for pool in made.read_work_pools():
            made.delete_work_pool(pool.name)
        for automation in made.read_automations():
            made.delete_automation(automation.id)
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "prefect.yaml"
    declare(path, ENTRY.format(name="a", description="First.", pool="shops"))
    return path


def declare(path: Path, *entries: str) -> None:
    path.write_text("name: shops\ndeployments:" + "".join(entries))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["deploy", *map(str, arguments)], standalone_mode=False)


def answer(*arguments: object, exit_code: int = 0) -> dict[str, Any]:
    """Return the one object on stdout."""
    result = run(*arguments, "--json")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    outcome: dict[str, Any] = json.loads(result.stdout)
    return outcome


def changes(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that were made."""
    states = ("unchanged", "dry_run", "notifications")
    return {key: value for key, value in outcome.items() if value and key not in states}


def names(client: SyncPrefectClient) -> set[str]:
    return {each.name for each in client.read_deployments()}


def test_the_project_s_file_is_deployed_once_and_then_unchanged(client: SyncPrefectClient) -> None:
    everything = [
        "federated-training/ml-100k",
        "promotion/ml-100k",
        "rollback/ml-100k",
        "housekeeping/nightly",
    ]

    first = answer()
    assert changes(first) == {
        "created": everything,
        "pools": ["fedrec"],
        "automations": [{"name": "managed:fedrec: crashed runs", "change": "create"}],
    }
    again = answer()
    assert changes(again) == {}
    assert again["unchanged"] == everything
    # Without an address a notification could not work, so Prefect has none.
    assert again["notifications"] == {"webhook": "off", "e-mail": "off"}

    made = client.read_deployment_by_name("federated-training/ml-100k")
    assert (made.entrypoint, made.work_pool_name) == ("flows.train.federated_training", "fedrec")
    assert (made.global_concurrency_limit.limit, made.enforce_parameter_schema) == (1, True)
    assert sorted(made.tags) == ["managed:fedrec", "training"]
    assert made.job_variables == {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}
    # Not the home of the user who deployed.
    assert made.pull_steps == [
        {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $FEDREC_HOME }}"}}
    ]
    [schedule] = made.schedules
    assert (schedule.active, schedule.schedule.cron, schedule.schedule.timezone) == (
        False,
        "0 3 * * 1",
        "Europe/Berlin",
    )
    assert client.read_work_pool("fedrec").type == "process"


def test_a_dry_run_reports_the_changes_and_makes_none(client: SyncPrefectClient, file: Path) -> None:
    would = answer("--file", file, "--dry-run")

    assert would["dry_run"] is True
    assert (would["created"], would["pools"]) == (["rollback/a"], ["shops"])
    assert (client.read_deployments(), client.read_work_pools(), client.read_automations()) == ([], [], [])
    text = run("--file", file, "--dry-run").stdout
    assert "would be created    rollback/a" in text
    assert "  fedrec run rollback/a" in text.splitlines()
    assert "prefect worker start --pool shops" in text
    assert "would be created    work pool shops" in text


def test_changes_are_reported_by_field_and_what_left_the_file_is_removed(
    client: SyncPrefectClient, file: Path
) -> None:
    declare(file, *(ENTRY.format(name=name, description="First.", pool="shops") for name in "ab"))
    answer("--file", file)
    declare(file, ENTRY.format(name="a", description="Second.", pool="shops"))

    would = answer("--file", file, "--dry-run")
    assert names(client) == {"a", "b"}
    done = answer("--file", file)

    changed = {
        "updated": [
            {
                "deployment": "rollback/a",
                "differences": [{"field": "description", "before": "First.", "after": "Second."}],
            }
        ],
        "pruned": ["rollback/b"],
    }
    assert changes(would) == changes(done) == changed
    assert names(client) == {"a"}
    assert client.read_deployment_by_name("rollback/a").description == "Second."
    assert changes(answer("--file", file)) == {}


def test_a_schedule_that_left_the_file_is_removed_from_prefect(client: SyncPrefectClient, file: Path) -> None:
    scheduled = ENTRY.format(name="a", description="First.", pool="shops") + (
        "    schedules:\n"
        "      - {slug: one, cron: '0 1 * * *', timezone: UTC}\n"
        "      - {slug: two, cron: '0 2 * * *', timezone: UTC, active: true}\n"
    )
    declare(file, scheduled)
    answer("--file", file)
    first = client.read_deployment_by_name("rollback/a")
    assert {each.slug: each.active for each in first.schedules} == {"one": False, "two": True}

    # A user switches the first one on in the UI. The file says nothing about it.
    [one] = [each for each in first.schedules if each.slug == "one"]
    client.update_deployment_schedule(first.id, one.id, active=True)
    assert changes(answer("--file", file)) == {}
    declare(file, scheduled[: scheduled.index("      - {slug: two")])
    answer("--file", file)

    after = client.read_deployment_by_name("rollback/a")
    assert {each.slug: each.active for each in after.schedules} == {"one": True}
    assert after.id == first.id


def test_each_trusted_silo_has_a_deployment_on_a_pool_of_its_own(
    client: SyncPrefectClient, file: Path, home: Path
) -> None:
    store = TrustStore(Home(home))
    for name in ("educator", "writer"):
        store.trust(name, Ed25519PrivateKey.generate().public_key())

    first = answer("--file", file)
    store.remove("writer")
    second = answer("--file", file)

    assert first["created"] == ["rollback/a", "silo-step/educator", "silo-step/writer"]
    assert first["pools"] == ["shops", "silo-educator", "silo-writer"]
    assert changes(second) == {"pruned": ["silo-step/writer"]}
    made = client.read_deployment_by_name("silo-step/educator")
    assert (made.entrypoint, made.work_pool_name) == ("flows.silo.step.silo_step", "silo-educator")


def test_deployments_of_others_are_left_alone(client: SyncPrefectClient, file: Path) -> None:
    flow_id = client.create_flow_from_name("rollback")
    client.create_deployment(flow_id, "theirs", tags=["fedrec"])
    client.create_deployment(flow_id, "a", description="Theirs.")
    declare(file, *(ENTRY.format(name=name, description="Mine.", pool="shops") for name in "ab"))

    outcome = answer("--file", file, exit_code=1)

    assert (outcome["created"], outcome["pruned"]) == (["rollback/b"], [])
    assert [each["deployment"] for each in outcome["failed"]] == ["rollback/a"]
    assert client.read_deployment_by_name("rollback/a").description == "Theirs."
    assert names(client) == {"theirs", "a", "b"}
    assert [each["deployment"] for each in answer("--file", file, "--adopt")["updated"]] == ["rollback/a"]
    assert client.read_deployment_by_name("rollback/a").description == "Mine."


def test_a_deployment_that_fails_does_not_stop_the_others(client: SyncPrefectClient, file: Path) -> None:
    # The server checks job variables against the pool's own schema. Ours is that of a process.
    from prefect.client.schemas.actions import WorkPoolCreate

    template = {
        "variables": {"properties": {"env": {"type": "string"}}},
        "job_configuration": {"env": "{{ env }}"},
    }
    client.create_work_pool(WorkPoolCreate(name="odd", type="process", base_job_template=template))
    declare(
        file,
        ENTRY.format(name="a", description="First.", pool="odd"),
        ENTRY.format(name="b", description="First.", pool="shops"),
    )

    outcome = answer("--file", file, exit_code=1)

    assert outcome["created"] == ["rollback/b"]
    [failed] = outcome["failed"]
    assert failed["deployment"] == "rollback/a"
    assert failed["message"].startswith("Error creating deployment: Validation failed for field 'env'.")
    assert names(client) == {"b"}
    result = run("--file", file)
    assert "fedrec: rollback/a: " in result.stderr


def test_any_fault_in_the_file_prevents_all_changes(client: SyncPrefectClient, file: Path) -> None:
    declare(
        file,
        ENTRY.format(name="a", description="First.", pool="shops"),
        ENTRY.format(name="b", description="First.", pool="shops") + "    parameter: {}\n",
    )
    error = run("--file", file).exception
    assert isinstance(error, InvalidConfig)
    assert "Did you mean parameters?" in str(error)

    declare(file, ENTRY.format(name="a", description="x", pool="shops, job_variables: {enf: {}}"))
    error = run("--file", file).exception
    assert isinstance(error, InvalidConfig)
    assert "has no job variable 'enf'. Did you mean env?" in str(error)
    assert (client.read_deployments(), client.read_work_pools(), client.read_automations()) == ([], [], [])


def test_an_address_without_prefect_is_one_clear_error(file: Path) -> None:
    error = run("--file", file, "--api-url", "http://127.0.0.1:9/api").exception
    assert isinstance(error, FedrecError)
    assert "http://127.0.0.1:9/api does not answer" in str(error)
    assert "Nothing was changed" in error.next_step

    from prefect.settings import get_current_settings

    ui = str(get_current_settings().api.url).removesuffix("/api")
    error = run("--file", file, "--api-url", ui).exception
    assert isinstance(error, FedrecError)
    assert "does not answer" in str(error)


def test_without_an_address_the_error_says_how_to_name_one(file: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: None}):
        error = run("--file", file).exception
    assert isinstance(error, FedrecError)
    assert "--api-url" in error.next_step


def test_the_automation_is_repaired_and_stays_off_if_a_user_switched_it_off(
    client: SyncPrefectClient, file: Path
) -> None:
    from tasks.orchestration.automations import crash_detection

    answer("--file", file)
    [made] = client.read_automations()
    assert made.name == CRASHES
    assert made.trigger.within == timedelta(seconds=90)
    assert "prefect.flow-run.Refused" in made.trigger.expect

    other = crash_detection("managed:shops", within=timedelta(seconds=600))
    client.update_automation(made.id, other.model_copy(update={"enabled": False}))
    assert answer("--file", file)["automations"] == [{"name": CRASHES, "change": "update"}]

    [mended] = client.read_automations()
    assert (mended.id, mended.enabled) == (made.id, False)
    assert mended.trigger.within == timedelta(seconds=90)


def test_a_run_without_heartbeats_is_crashed_and_an_ended_one_is_not(client: SyncPrefectClient) -> None:
    from prefect import flow
    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker
    from prefect.states import Completed, Running

    from tasks.orchestration.automations import crash_detection, put_automation

    # Ten seconds is the least that Prefect accepts.
    put_automation(client, crash_detection("managed:shops", within=timedelta(seconds=10)))

    @flow(name="stand-in")
    def stand_in() -> None: ...

    dead, refused, foreign = (
        client.create_flow_run(stand_in, tags=tags)
        for tags in (["managed:shops"], ["managed:shops"], ["others"])
    )
    for each in (dead, refused, foreign):
        client.set_flow_run_state(each.id, Running())
        emit_event(
            event="prefect.flow-run.heartbeat",
            resource={"prefect.resource.id": f"prefect.flow-run.{each.id}"},
            related=[
                {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
                for tag in each.tags
            ],
        )
    EventsWorker.drain_all()
    client.set_flow_run_state(refused.id, Completed(name="Refused"))

    give_up = time.monotonic() + 40
    while time.monotonic() < give_up and client.read_flow_run(dead.id).state.name != "Crashed":
        time.sleep(0.5)

    state = client.read_flow_run(dead.id).state
    assert (state.name, state.message) == ("Crashed", "No heartbeat for 10 s; its process probably died.")
    assert client.read_flow_run(refused.id).state.name == "Refused"
    assert client.read_flow_run(foreign.id).state.name == "Running"
