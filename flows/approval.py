"""A person's decision in the middle of a flow, asked for by a form in Prefect's UI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from models.promotion.gates import GateVerdict

# Seconds between looks at whether somebody has answered.
_LOOK_EVERY = 2


class ApprovalForm(RunInput):
    """What the person is asked for. Prefect knows no users, so the name is asked for too."""

    approve: bool = Field(description="Whether this version becomes the champion.")
    approver: str = Field(min_length=1, description="Your name; kept in the ledger as who decided.")
    note: str = Field("", description="Why; kept in the ledger as the reason.")


@dataclass(frozen=True)
class Answer:
    """What came of asking.

    Attributes:
        verdict: as a gate's, so that the ledger shows it among them.
        actor: who answered; empty where nobody did.
        note: why; may be empty.
    """

    verdict: GateVerdict
    actor: str = ""
    note: str = ""


def ask(
    model_name: str, candidate: int, champion: int | None, verdicts: Sequence[GateVerdict], hours: float
) -> Answer:
    """A person's answer, or the want of one; the flow run is paused until then.

    The run waits in its process, which keeps its heartbeats going: suspending would end the process and start
    the flow anew.

    Args:
        model_name, candidate, champion: what is asked about.
        verdicts: what the gates said, shown with the form.
        hours: how long to wait; Prefect then calls the run Failed, whatever it still does.
    """
    instead = f"instead of version {champion}" if champion else "as the first one"
    lines = [f"- {one.gate}: {one.observed}" for one in verdicts]
    text = "\n".join([f"Version {candidate} of {model_name} would become champion {instead}.", "", *lines])
    form = ApprovalForm.with_initial_data(description=text)
    try:
        given = pause_flow_run(wait_for_input=form, timeout=int(hours * 3600), poll_interval=_LOOK_EVERY)
    except FlowPauseTimeout:
        return Answer(_verdict(False, f"nobody answered within {hours:g} h"))
    said = "approved" if given.approve else "refused"
    told = f"{said} by {given.approver}" + (f": {given.note}" if given.note else "")
    return Answer(_verdict(given.approve, told), given.approver, given.note)


def _verdict(passed: bool, observed: str) -> GateVerdict:
    return GateVerdict("approval", passed, observed, "a person's approval in Prefect's UI")
