"""Automations in Prefect's API, and the one that detects crashed runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation, AutomationCore

# Prefect requires at least 30 s between heartbeats; its default is 180 s.
HEARTBEAT_S = 30
HEARTBEAT_SETTING = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
MISSED_HEARTBEATS = 3

# Names of the states after which a run's process sends no heartbeat. "Refused" is fedrec's own name of
# Completed. A name that is missing here causes one refused state change, because in Prefect no automation can
# change a run that has ended.
_ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut", "Suspended", "Refused")

FLOW_RUNS = {"prefect.resource.id": ["prefect.flow-run.*"]}


def crash_detection(mark: str, within: timedelta | None = None) -> AutomationCore:
    """Return the automation that sets a run to CRASHED when its heartbeats stop.

    Args:
        mark: the automation covers only runs with this tag, which they get from their deployment.
        within: how long a heartbeat may be missing; by default the time of three heartbeats.
    """
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    heartbeat = "prefect.flow-run.heartbeat"
    within = within or timedelta(seconds=MISSED_HEARTBEATS * HEARTBEAT_S)
    return AutomationCore(
        name=f"{mark}: crashed runs",
        description="Sets a run to CRASHED when its heartbeats stop; made by fedrec deploy.",
        tags=[mark],
        trigger=EventTrigger(
            after={heartbeat},
            # Not prefect.flow-run.*, which would miss a run that dies right after another change of state.
            expect={heartbeat, *(f"prefect.flow-run.{name}" for name in _ENDS)},
            match=ResourceSpecification(FLOW_RUNS),
            match_related=ResourceSpecification(tagged(mark)),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat for {within.total_seconds():.0f} s; its process probably died.",
            )
        ],
    )


def find_automation(client: SyncPrefectClient, wanted: AutomationCore) -> tuple[Automation | None, bool]:
    """Return (the automation of that name, whether it equals `wanted`); ignores whether it is on."""
    for found in client.read_automations_by_name(wanted.name):
        return found, _compared(found) == _compared(wanted)
    return None, False


def put_automation(client: SyncPrefectClient, wanted: AutomationCore, enabled: bool | None = None) -> None:
    """Create or update this automation in Prefect.

    Args:
        client: of Prefect's API.
        wanted: the automation; a new one is on or off as it says.
        enabled: whether an existing one is on; by default it stays on or off as it is.
    """
    known = client.read_automations_by_name(wanted.name)
    if known:
        switch = known[0].enabled if enabled is None else enabled
        client.update_automation(known[0].id, wanted.model_copy(update={"enabled": switch}))
    else:
        client.create_automation(wanted)


def tagged(mark: str) -> dict[str, str | list[str]]:
    """Return the labels that an event has among its related resources if its run has the tag `mark`."""
    return {"prefect.resource.role": ["tag"], "prefect.resource.id": [f"prefect.tag.{mark}"]}


def _compared(one: AutomationCore) -> dict[str, Any]:
    compared = {"name", "description", "tags", "trigger", "actions"}
    dumped = one.model_dump(mode="json", include=compared)
    # The order of sets is not fixed in JSON either, and equal triggers have different ids.
    for key in ("after", "expect", "for_each"):
        dumped["trigger"][key] = sorted(dumped["trigger"][key])
    dumped["trigger"].pop("id", None)
    return dumped
