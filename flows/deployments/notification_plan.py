"""Plans a deploy's notifications, and makes them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from models.errors import InvalidConfig
from tasks.orchestration.automations import find_automation, put_automation
from tasks.orchestration.notifications import (
    Notification,
    automation_of,
    find_block,
    is_address,
    notification_name,
    put_block,
)

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_EXAMPLES = {
    "webhook": "https://chat.example.org/hooks/...",
    "email": "mailtos://user:password@smtp.example.org?from=fedrec@example.org&to=ops@example.org",
}
# For a comparison with an automation whose block does not exist.
_NO_BLOCK = UUID(int=0)


@dataclass(frozen=True)
class NotificationPlan:
    """What a deploy makes of one notification.

    Attributes:
        notification: the notification.
        name: the name of its automation.
        is_on: whether it is on afterwards.
        address: what its block must get; None if the block stays as it is.
        change: of the automation or its block; None if there is none.
    """

    notification: Notification
    name: str
    is_on: bool
    address: str | None
    change: Literal["create", "update"] | None


def plan_notifications(
    client: SyncPrefectClient,
    notifications: Sequence[Notification],
    mark: str,
    flows: Collection[str],
    switched_on: Collection[str],
) -> list[NotificationPlan]:
    """Return what a deploy makes of each notification.

    One that is off and has no address yet is left out of Prefect, because its automation could not work.

    Args:
        client: of Prefect's API.
        notifications: as declared.
        mark: the tag of the file's deployments.
        flows: names of the flows that they are about.
        switched_on: names of notifications that this deploy switches on.

    Raises:
        InvalidConfig: a name is unknown, or an address is missing or wrong.
    """
    names = [each.name for each in notifications]
    for name in switched_on:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1) or names
            raise InvalidConfig(
                f"The file declares no notification {name!r}.",
                next_step=f"Declared are: {', '.join(near)}." if near else "Declare it under notifications.",
            )
    return [_planned(client, each, mark, flows, each.name in switched_on) for each in notifications]


def make_notification(
    client: SyncPrefectClient, plan: NotificationPlan, mark: str, flows: Collection[str]
) -> None:
    """Create or update the notification's block and automation in Prefect."""
    if plan.address is not None:
        block_id = put_block(plan.notification, mark, plan.address)
    else:
        found = find_block(plan.notification, mark)
        block_id = found[0] if found else _NO_BLOCK
    wanted = automation_of(plan.notification, mark, flows, block_id, enabled=plan.is_on)
    put_automation(client, wanted, enabled=plan.is_on)


def _planned(
    client: SyncPrefectClient, notification: Notification, mark: str, flows: Collection[str], switch_on: bool
) -> NotificationPlan:
    block = find_block(notification, mark)
    given = os.environ.get(notification.variable)
    block_id = block[0] if block else _NO_BLOCK
    wanted = automation_of(notification, mark, flows, block_id, enabled=False)
    found, is_same = find_automation(client, wanted)
    declared = True if switch_on else notification.active
    is_on = declared if declared is not None else bool(found and found.enabled)
    if given is not None and not is_address(notification.kind, given):
        raise _wrong_address(notification, "has no address of its kind")
    if block is None and given is None:
        if is_on:
            raise _wrong_address(notification, "is not set")
        return NotificationPlan(notification, notification_name(mark, notification), False, None, None)
    new_address = given if given is not None and (block is None or block[1] != given) else None
    change: Literal["create", "update"] | None = None
    if found is None:
        change = "create"
    elif not is_same or new_address is not None or found.enabled != is_on:
        change = "update"
    return NotificationPlan(notification, wanted.name, is_on, new_address, change)


def _wrong_address(notification: Notification, what: str) -> InvalidConfig:
    return InvalidConfig(
        f"The notification {notification.name!r} takes its address from the environment variable "
        f"{notification.variable}, which {what}.",
        next_step=f"Set it, for example to {_EXAMPLES[notification.kind]}, and deploy again.",
        notification=notification.name,
    )
