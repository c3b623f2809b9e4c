"""`fedrec run` against a real Prefect server: what it starts, what it refuses, how it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from flows.cli import cli
from models.errors import (
    FedrecError,
    InvalidConfig,
    JobStopped,
    LedgerTampered,
    NotFound,
    QuorumNotReached,
)
from tests.waiting import until

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State

FILE = """
name: started
deployments:
  - name: towns
    entrypoint: flows.train.federated_training
    description: d
    work_pool: {name: started}
    parameters:
      config: {name: towns, model_name: towns, data: {dir: $FEDREC_HOME/data}, federation: {rounds: 30}}
  - {name: towns, entrypoint: flows.promote.promotion, description: d, work_pool: {name: started}}
"""

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[SyncPrefectClient]:
    """Return a client of a server with two deployments."""
    from prefect.client.orchestration import get_client

    (tmp_path / "prefect.yaml").write_text(FILE)
    done = CliRunner().invoke(
        cli, ["deploy", "--file", str(tmp_path / "prefect.yaml")], standalone_mode=False
    )
    assert done.exit_code == 0, done.output
    assert "  fedrec run federated-training/towns" in done.stdout.splitlines()
    with get_client(sync_client=True) as made:
        yield made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["run", *arguments], standalone_mode=False)


def test_one_value_is_changed_and_the_run_s_address_is_printed(client: SyncPrefectClient) -> None:
    done = run("federated-training/towns", "--set", "federation.rounds=2", "--name", "My run", "--json")

    assert done.exception is None, done.output
    outcome = json.loads(done.stdout)
    found = client.read_flow_run(outcome["flow_run_id"])
    assert (found.name, found.state.name) == ("My run", "Scheduled")
    data = {"dir": "$FEDREC_HOME/data"}
    config = {"name": "towns", "model_name": "towns", "data": data, "federation": {"rounds": 2}}
    assert found.parameters == {"config": config}
    assert outcome["url"].endswith(f"/runs/flow-run/{found.id}")
    assert "No worker serves the pool started yet" in done.stderr
    text = run("federated-training/towns").stdout
    assert text.startswith("Started a run of federated-training/towns: http")
    # The deployment is as it was.
    deployment = client.read_deployment_by_name("federated-training/towns")
    assert deployment.parameters["config"]["federation"] == {"rounds": 30}


def test_a_wrong_name_or_key_starts_nothing(client: SyncPrefectClient) -> None:
    before = len(client.read_flow_runs())
    for arguments, kind, words in (
        (["federated-training/twons"], NotFound, "federated-training/towns"),
        (["towns"], NotFound, "2 deployments have the name 'towns'"),
        (["federated-training/towns", "--set", "federation.round=2"], InvalidConfig, "federation.rounds"),
        (["promotion/towns", "--set", "tolerence=2"], InvalidConfig, "Did you mean tolerance?"),
    ):
        error = run(*arguments).exception
        assert isinstance(error, kind)
        assert words in str(error)
    assert len(client.read_flow_runs()) == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("a=[1,", "the value is not YAML"),
        ("rounds", "needs key=value"),
        ("=2", "needs key=value"),
        ("a..b=2", "needs key=value"),
        ("a=" + "{" * 200, "the value is not YAML"),
    ],
)
def test_a_value_of_another_form_is_refused_before_any_connection(override: str, words: str) -> None:
    error = run("towns", "--set", override, "--api-url", "http://127.0.0.1:9/api").exception

    assert isinstance(error, InvalidConfig)
    assert words in str(error)


def test_without_an_api_the_next_step_is_about_the_run() -> None:
    error = run("towns", "--set", "a=1", "--api-url", "http://127.0.0.1:9/api").exception

    assert isinstance(error, FedrecError)
    assert "start the run again" in error.next_step
    assert "deploy" not in error.next_step


def _ends() -> list[Any]:
    from prefect.states import Cancelled, Completed, Failed

    refused = Completed(name="Refused", message="Gates that did not pass: quality.")
    stopped = Failed(message="Below the quorum.")
    return [(Completed(), 0), (refused, 4), (Failed(message="It broke."), 1), (Cancelled(), 1), (stopped, 3)]


@pytest.mark.parametrize("number", range(5))
def test_with_wait_the_exit_code_is_that_of_the_run_s_state(client: SyncPrefectClient, number: int) -> None:
    from prefect.states import Running

    state, code = _ends()[number]
    name = f"waited-{number}"
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(run("promotion/towns", "--wait", "--name", name)))
    thread.start()

    def end(with_state: State) -> None:
        [found] = until(lambda: [each for each in client.read_flow_runs() if each.name == name])
        client.set_flow_run_state(found.id, with_state, force=True)
        if code == 3 and with_state.is_final():
            # After the state, as Prefect calls hooks.
            client.update_flow_run_labels(found.id, {"fedrec.exit_code": code})

    end(Running())
    end(state)
    thread.join(60)

    [done] = results
    assert done.exit_code == 0 and done.return_value == code, done.output
    said = f": {state.message}" if state.message else ""
    assert f"{name} ended as {state.name}{said}" in done.stdout


def _outcomes() -> list[tuple[Any, int]]:
    """Return what a flow may end with, and the exit code of the same command."""
    from prefect.states import Failed

    stopped = JobStopped("It stopped.", exit_code=5, result={})
    return [
        (QuorumNotReached("Too few."), 3),
        (LedgerTampered("Changed."), 6),
        (ValueError("a bug"), 1),
        (Failed(message="It stopped.", data=stopped), 5),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_failed_flow_run_is_labelled_with_its_error_s_exit_code(
    client: SyncPrefectClient, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow

    from tasks.orchestration import exit_codes

    monkeypatch.setattr(exit_codes, "_LABELLED_S", 0.5)
    outcome, code = _outcomes()[number]

    def ends() -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    state: Any = flow(name="ends", on_failure=[exit_codes.label_exit_code])(ends)(return_state=True)

    assert state.is_failed()
    assert exit_codes.exit_code_of(client, state.state_details.flow_run_id) == code


def test_flows_that_search_decide_and_clean_up_are_labelled() -> None:
    from flows.housekeeping import housekeeping
    from flows.promote import promotion, rolling_back
    from flows.tune import tune
    from tasks.orchestration.exit_codes import label_exit_code

    flows: list[Any] = [tune, promotion, rolling_back, housekeeping]
    assert [each.on_failure_hooks for each in flows] == [[label_exit_code]] * 4
