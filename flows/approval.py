"""Pauses a flow for a person's decision, which is entered in a form of Prefect's UI."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from flows.decide import ApprovalDecision
from models.promotion.exposure_gate import is_held
from models.promotion.verdict import GateVerdict

# Seconds between checks for an answer.
_POLL_S = 2


class ApprovalForm(RunInput):
    """The fields of the form. Prefect has no users, so the form also has a field for the name."""

    approve: bool = Field(description="Whether this version becomes the champion.")
    approver: str = Field(min_length=1, description="Your name; the ledger records who decided.")
    note: str = Field("", description="The reason; the ledger records it.")


class HeldForm(ApprovalForm):
    """The form about a version that the exposure gate holds: who overrides the alarm says why."""

    note: str = Field(
        pattern=r"\S", description="Why these items are in so many lists; the ledger records it."
    )


def request_approval(
    model_name: str, candidate: int, instead: str, verdicts: Sequence[GateVerdict], hours: float
) -> ApprovalDecision:
    """Pause the flow run until a person decides or the time runs out, and return the decision.

    The run waits in its process, whose heartbeats continue. Suspending would end the process and later start
    the flow from its beginning.

    Args:
        model_name, candidate: the version to decide about.
        instead: which champion it would replace, in words.
        verdicts: of the gates, shown with the form.
        hours: how long to wait. Prefect then sets the run to Failed, whatever it does afterwards.
    """
    # Only the exposure gate may have failed: see `models.promotion.exposure_gate.is_held`.
    lines = [
        f"- {one.gate}{'' if one.passed else ' (held; your approval passes it)'}: {one.observed}"
        for one in verdicts
    ]
    text = "\n".join([f"Version {candidate} of {model_name} would become champion {instead}.", "", *lines])
    form = (HeldForm if is_held(verdicts) else ApprovalForm).with_initial_data(description=text)
    try:
        given = pause_flow_run(wait_for_input=form, timeout=int(hours * 3600), poll_interval=_POLL_S)
    except FlowPauseTimeout:
        return ApprovalDecision(_verdict(False, f"no decision within {hours:g} h"))
    word = "approved" if given.approve else "refused"
    observed = f"{word} by {given.approver}" + (f": {given.note}" if given.note else "")
    return ApprovalDecision(_verdict(given.approve, observed), given.approver, given.note)


def _verdict(passed: bool, observed: str) -> GateVerdict:
    return GateVerdict("approval", passed, observed, "a person's approval in Prefect's UI")
