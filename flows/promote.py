"""Promotion and rollback as flows, so that Prefect can schedule them and show them as a form.

Every parameter is a plain JSON value. A refused promotion is also a decision: its flow run completes, in a
state named "Refused".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import State, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from flows.approval import request_approval
from flows.decide import (
    ApprovalDecision,
    Outcome,
    Steps,
    decide_promotion,
    decide_rollback,
    require_named,
)
from flows.terminal.progress import announce
from models.promotion.exposure import ExposurePolicy
from models.promotion.gates import PromotionPolicy
from models.promotion.verdict import GateVerdict
from tasks.local import environment
from tasks.orchestration.exit_codes import label_exit_code
from tasks.orchestration.run_names import named_after
from tasks.promotion import promote as shell
from tasks.promotion.candidate import default_candidate
from tasks.promotion.shown_items import shown_items
from tasks.promotion.spend import spend_of
from tasks.tracking import registry
from tasks.tracking.outage import names_outages
from tasks.tracking.outbox_sender import send_what_waits

TASKS = Steps(
    settle=task(name="settle ledger and aliases", cache_policy=NO_CACHE)(shell.settle),
    gather=task(name="load and score candidate", cache_policy=NO_CACHE)(shell.gather),
    show=task(name="count recommended items", cache_policy=NO_CACHE)(shown_items),
    find_spend=task(name="read privacy account", cache_policy=NO_CACHE)(spend_of),
    find_target=task(name="load and score earlier champion", cache_policy=NO_CACHE)(shell.rollback_target),
    record=task(name="record decision and move aliases", cache_policy=NO_CACHE)(shell.record),
)


def _subject(parameters: Mapping[str, Any]) -> str:
    return parameters["model_name"] or "model"


@flow(
    name="promotion",
    flow_run_name=named_after(_subject),
    validate_parameters=True,
    on_failure=[label_exit_code],
)
@names_outages
def promotion(
    model_name: str | None = None,
    version: int | None = None,
    actor: str = "prefect",
    reason: str = "",
    tolerance: float = PromotionPolicy.tolerance,
    max_client_drop: float = PromotionPolicy.max_client_drop,
    exposure: dict[str, float] | None = None,
    max_epsilon: float | None = None,
    approve_exposure: str = "",
    require_approval: bool = False,
    approval_hours: float = 24.0,
) -> Outcome | State[Outcome]:
    """Run the gates on a version, make it champion if it passes all, and write the decision to the ledger.

    Args:
        model_name: a registered model; optional if there is only one.
        version: the candidate; by default the best round, by validation, of the newest evaluated job.
        actor: the person who requests the promotion.
        reason: the reason for it.
        tolerance: share of the champion's quality by which the candidate may be worse.
        max_client_drop: share of the champion's value that a client may lose.
        exposure: limits of the exposure gate that differ from the defaults: least, factor, most, lists.
        max_epsilon: the largest epsilon of differential privacy; versions without it are then refused.
        approve_exposure: why the actor, who has looked at the items that the exposure gate named, approves
            them; the ledger records it in place of the reason. Only with a version.
        require_approval: pause after the gates have passed, or if the exposure gate alone has not, until a
            person decides in Prefect's UI. The ledger then names that person instead of the actor, and their
            note instead of the reason.
        approval_hours: hours to wait for that decision. Afterwards the candidate is refused.
    """
    require_named(version, bool(approve_exposure), approve_exposure)
    policy = PromotionPolicy(
        tolerance=tolerance,
        max_client_drop=max_client_drop,
        exposure=ExposurePolicy.of(exposure or {}),
        max_epsilon=max_epsilon,
    )
    home = environment.apply()
    client = registry.open_registry(home)
    send_what_waits(home, announce)
    name = registry.resolve_model_name(client, model_name)

    def ask(candidate: int, instead: str, verdicts: tuple[GateVerdict, ...]) -> ApprovalDecision:
        return request_approval(name, candidate, instead, verdicts, approval_hours)

    candidate, why = (version, None) if version else default_candidate(home, client, name)
    if why:
        announce(why)
    return _ended(
        decide_promotion(
            home,
            client,
            name,
            candidate,
            policy,
            actor=actor,
            reason=approve_exposure or reason,
            steps=TASKS,
            ask=ask if require_approval else None,
            approve_exposure=bool(approve_exposure),
        )
    )


@flow(
    name="rollback",
    flow_run_name=named_after(_subject),
    validate_parameters=True,
    on_failure=[label_exit_code],
)
@names_outages
def rolling_back(
    model_name: str | None = None, actor: str = "prefect", reason: str = ""
) -> Outcome | State[Outcome]:
    """Make the previous champion serve again, if its artefact still loads and scores.

    Earlier champions that no longer exist, or whose artefacts are missing, are passed over.

    Args:
        model_name: a registered model; optional if there is only one.
        actor: the person who requests the rollback.
        reason: the reason for it.

    Raises:
        NotFound: there is no previous champion, or none is left.
    """
    home = environment.apply()
    client = registry.open_registry(home)
    name = registry.resolve_model_name(client, model_name)
    return _ended(decide_rollback(home, client, name, actor=actor, reason=reason, steps=TASKS))


def _ended(outcome: Outcome) -> Outcome | State[Outcome]:
    if outcome["promoted"]:
        return outcome
    failed = ", ".join(verdict["gate"] for verdict in outcome["verdicts"] if not verdict["passed"])
    return Completed(name="Refused", message=f"Gates that did not pass: {failed}.", data=outcome)
