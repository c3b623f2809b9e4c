"""The notifications that `fedrec deploy` makes, against a real Prefect server and real receivers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from flows.cli import cli
from models.errors import InvalidConfig
from tests.servers.receivers import Mailbox, Webhook
from tests.waiting import until

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

FILE = """
name: callers
notifications:
  - {{name: hook, kind: webhook, about: [failed, refused], address: $HOOK{active}}}
  - {{name: mail, kind: email, about: [failed], address: $MAIL}}
deployments:
  - {{name: a, entrypoint: flows.promote.rolling_back, description: d, work_pool: {{name: callers}}}}
"""
HOOK = "managed:callers: notification hook"

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as made:
        for each in made.read_automations():
            made.delete_automation(each.id)
        for block in made.read_block_documents():
            made.delete_block_document(block.id)
        yield made


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "prefect.yaml"
    path.write_text(FILE.format(active=""))
    for name in ("HOOK", "MAIL"):
        monkeypatch.delenv(name, raising=False)
    return path


def deploy(file: Path, *arguments: str) -> dict[str, Any]:
    command = ["deploy", "--file", str(file), "--json", *arguments]
    done = CliRunner().invoke(cli, command, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def switches(client: SyncPrefectClient) -> dict[str, bool]:
    return {each.name: each.enabled for each in client.read_automations() if "notification" in each.name}


def test_a_notification_is_off_until_it_is_switched_on_and_then_stays_as_it_is(
    client: SyncPrefectClient, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.webhook import Webhook as Block

    assert deploy(file)["notifications"] == {"hook": "off", "mail": "off"}
    assert switches(client) == {}

    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/first")
    create = [{"name": HOOK, "change": "create"}]
    assert deploy(file, "--dry-run", "--notify", "hook")["automations"] == create
    assert switches(client) == {}
    outcome = deploy(file, "--notify", "hook")
    assert (outcome["automations"], outcome["notifications"]) == (create, {"hook": "on", "mail": "off"})
    assert switches(client) == {HOOK: True}
    # Who deploys again need not know the address, and changes nothing.
    monkeypatch.delenv("HOOK")
    assert deploy(file)["automations"] == []

    [made] = client.read_automations_by_name(HOOK)
    # As the switch in Prefect's UI does.
    client.request("PATCH", "/automations/{id}", path_params={"id": made.id}, json={"enabled": False})
    assert deploy(file)["automations"] == []
    assert switches(client) == {HOOK: False}

    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/second")
    assert deploy(file)["automations"] == [{"name": HOOK, "change": "update"}]
    assert Block.load("managed-callers-hook", _sync=True).url.get_secret_value().endswith("/second")

    file.write_text(FILE.format(active=", active: true"))
    assert deploy(file)["notifications"]["hook"] == "on"
    file.write_text(FILE.format(active=", active: false"))
    assert deploy(file)["automations"] == [{"name": HOOK, "change": "update"}]
    assert switches(client) == {HOOK: False}
    file.write_text(FILE.format(active="").replace("name: hook", "name: other"))
    assert deploy(file)["automations"][-1] == {"name": HOOK, "change": "remove"}
    assert HOOK not in switches(client)


def test_a_name_or_an_address_that_cannot_be_right_changes_nothing(
    client: SyncPrefectClient, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for arguments, words in (
        (["--notify", "hok"], "no notification 'hok'. Declared are: hook."),
        (["--notify", "hook"], "HOOK, which is not set. Set it, for example to https://"),
        (["--notify", "mail"], "MAIL, which is not set. Set it, for example to mailtos://"),
    ):
        with pytest.raises(InvalidConfig) as caught:
            deploy(file, *arguments)
        assert words in str(caught.value)
    for name, wrong in (("HOOK", "secret@host"), ("MAIL", "secret@host"), ("MAIL", "nonsense://x")):
        monkeypatch.setenv(name, wrong)
        with pytest.raises(InvalidConfig) as caught:
            deploy(file)
        assert f"{name}, which has no address of its kind" in str(caught.value)
        # It may hold a password.
        assert wrong not in str(caught.value) + caplog.text
        monkeypatch.delenv(name)
    assert switches(client) == {}


def test_both_kinds_tell_of_a_failed_run_and_only_of_that(
    client: SyncPrefectClient,
    file: Path,
    webhook: Webhook,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prefect.states import Completed, Failed, Running

    monkeypatch.setenv("HOOK", webhook.url)
    monkeypatch.setenv("MAIL", mailbox.address)
    deploy(file, "--notify", "hook", "--notify", "mail")
    deployment = client.read_deployment_by_name("rollback/a")
    failed, completed = (client.create_flow_run_from_deployment(deployment.id) for _ in range(2))
    message = 'The "gates" <refused> it: 50 % & more.'
    client.set_flow_run_state(completed.id, Running())
    client.set_flow_run_state(completed.id, Completed())
    client.set_flow_run_state(failed.id, Running())
    client.set_flow_run_state(failed.id, Failed(message=message))

    assert webhook.told(failed.id)["message"] == message
    until(lambda: mailbox.received, 60, what="a mail")
    [mail] = mailbox.received
    assert f"rollback {failed.name}: Failed" in mail.replace("\r\n", "\n").replace("=\n", "")
    assert "To: ops@example.org" in mail
    assert [each["flow_run_id"] for each in webhook.received] == [str(failed.id)]
