"""Notifications about runs: an automation in Prefect, with a block that holds the address.

Prefect names the event of a state change after the state's name, so alerts on failures wait for "Failed". A
stopped job is Failed too, and a refused promotion is Completed with the name "Refused".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from tasks.orchestration.automations import FLOW_RUNS, tagged

if TYPE_CHECKING:
    from prefect.blocks.core import Block
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.actions import CallWebhook, SendNotification
    from prefect.events.schemas.automations import Automation, AutomationCore

Occasion = Literal["failed", "crashed", "refused", "waiting"]

# Occasion -> the names of the states that it stands for.
_STATES: Mapping[Occasion, tuple[str, ...]] = MappingProxyType(
    {
        "failed": ("Failed", "TimedOut"),
        "crashed": ("Crashed",),
        "refused": ("Refused",),
        "waiting": ("Paused", "Suspended"),
    }
)
_SUBJECT = "{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.name }}"
_TEXT = _SUBJECT + ". {{ flow_run.state.message or '' }} {{ flow_run|ui_url or '' }}"
# `text` is what chat services show.
_PAYLOAD = """{
  "text": {% filter tojson %}_TEXT{% endfilter %},
  "flow": {{ flow.name|tojson }},
  "deployment": {{ deployment.name|tojson }},
  "flow_run": {{ flow_run.name|tojson }},
  "flow_run_id": {{ flow_run.id|string|tojson }},
  "state": {{ flow_run.state.name|tojson }},
  "message": {{ (flow_run.state.message or '')|tojson }},
  "url": {{ (flow_run|ui_url or '')|tojson }}
}""".replace("_TEXT", _TEXT)


@dataclass(frozen=True)
class Notification:
    """Who hears of which runs.

    Attributes:
        name: its name in the file.
        kind: `webhook` posts JSON; `email` sends a mail.
        occasions: what it is about.
        variable: the environment variable with the address: a URL, or an Apprise address such as
            mailtos://user:password@smtp.example.org?to=ops@example.org
        active: whether it is on. None keeps Prefect's value; a new one is then off.
    """

    name: str
    kind: Literal["webhook", "email"]
    occasions: tuple[Occasion, ...]
    variable: str
    active: bool | None = None


def notification_name(mark: str, notification: Notification | str = "") -> str:
    """Return the name of a notification's automation; without a notification, how all of them begin."""
    return f"{mark}: notification {getattr(notification, 'name', notification)}"


def automation_of(
    notification: Notification, mark: str, flows: Collection[str], block_id: UUID, *, enabled: bool
) -> AutomationCore:
    """Return the automation of a notification.

    Args:
        notification: the notification.
        mark: the tag of the runs that it is about.
        flows: names of their flows; the steps of silos are left out, because a silo that fails costs its
            update and not the job.
        block_id: the block with the address.
        enabled: whether the automation is on.
    """
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    states = sorted({name for each in notification.occasions for name in _STATES[each]})
    of_flows: dict[str, str | list[str]] = {
        "prefect.resource.role": ["flow"],
        "prefect.resource.name": sorted(flows),
    }
    return AutomationCore(
        name=notification_name(mark, notification),
        description="Tells of runs that need somebody; made by fedrec deploy.",
        tags=[mark],
        enabled=enabled,
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{name}" for name in states},
            match=ResourceSpecification(FLOW_RUNS),
            match_related=[ResourceSpecification(tagged(mark)), ResourceSpecification(of_flows)],
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[_action(notification, block_id)],
    )


def find_block(notification: Notification, mark: str) -> tuple[UUID, str] | None:
    """Return (id, address) of the notification's block in Prefect; None if there is none."""
    kind: Any = _block_kind(notification)
    try:
        block = kind.load(block_name(notification, mark), _sync=True)
    except ValueError:  # Prefect's error for a block that does not exist
        return None
    return block._block_document_id, block.url.get_secret_value()


def put_block(notification: Notification, mark: str, address: str) -> UUID:
    """Store the address in the notification's block, and return the block's id."""
    kind: Any = _block_kind(notification)
    values: dict[str, Any] = {"url": address}
    if notification.kind == "webhook":
        values["headers"] = {"content-type": "application/json"}
    block_id: UUID = kind(**values).save(block_name(notification, mark), overwrite=True, _sync=True)
    return block_id


def is_address(kind: Literal["webhook", "email"], text: str) -> bool:
    """Return whether the text is an address of this kind; an e-mail's is checked by Apprise itself."""
    if kind == "webhook":
        return text.startswith(("http://", "https://"))
    from apprise import Apprise

    logger = logging.getLogger("apprise")
    logger.disabled = True  # it would show the address, which may hold a password
    try:
        return bool(Apprise.instantiate(text, suppress_exceptions=True))
    finally:
        logger.disabled = False


def notifications_of_others(client: SyncPrefectClient, mark: str, names: Collection[str]) -> list[Automation]:
    """Return the notifications with this mark in Prefect that are not among `names`."""
    begin = notification_name(mark)
    found = client.read_automations()
    return [each for each in found if each.name.startswith(begin) and each.name not in names]


def block_name(notification: Notification, mark: str) -> str:
    """Return the name of the notification's block, of the letters that Prefect allows."""
    return re.sub(r"[^a-z0-9]+", "-", f"{mark}-{notification.name}".lower()).strip("-")


def _block_kind(notification: Notification) -> type[Block]:
    """Return the class of the block.

    Prefect has none for SMTP. Its block for Slack passes any other address on to Apprise.
    """
    from prefect.blocks.notifications import SlackWebhook
    from prefect.blocks.webhook import Webhook

    return Webhook if notification.kind == "webhook" else SlackWebhook


def _action(notification: Notification, block_id: UUID) -> CallWebhook | SendNotification:
    from prefect.events.actions import CallWebhook, SendNotification

    if notification.kind == "webhook":
        return CallWebhook(block_document_id=block_id, payload=_PAYLOAD)
    return SendNotification(block_document_id=block_id, subject=_SUBJECT, body=_TEXT)
