"""Promotion and rollback as flows, so that Prefect can schedule them and show them as a form.

Every parameter is a plain JSON value. A refused promotion is also a decision: its flow run completes, in a
state named "Refused".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from prefect import State, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from flows.approval import ApprovalDecision, request_approval
from flows.terminal.progress import announce
from models.errors import NotFound
from models.ledger.chain import Entry
from models.promotion.champions import Standing
from models.promotion.decision import PromotionDecision
from models.promotion.evidence import RoundEvidence
from models.promotion.gates import GateVerdict, PromotionPolicy, artefact_gate, judge
from tasks.local import environment
from tasks.local.home import Home
from tasks.messages.record import JsonObject
from tasks.orchestration.run_names import named_after
from tasks.promotion import ledger
from tasks.promotion import promote as shell
from tasks.tracking import registry
from tasks.tracking.outage import names_outages
from tasks.tracking.outbox_sender import send_what_waits

settle = task(name="settle ledger and aliases", cache_policy=NO_CACHE)(shell.settle)
gather = task(name="load and score candidate", cache_policy=NO_CACHE)(shell.gather)
find_target = task(name="load and score earlier champion", cache_policy=NO_CACHE)(shell.rollback_target)
record = task(name="record decision and move aliases", cache_policy=NO_CACHE)(shell.record)

Outcome = JsonObject


@dataclass(frozen=True)
class _Judged:
    """The results of the gates for a candidate that is not the champion."""

    evidence: RoundEvidence
    verdicts: tuple[GateVerdict, ...]

    @property
    def passed(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts)


def _subject(parameters: Mapping[str, Any]) -> str:
    return parameters["model_name"] or "model"


@flow(name="promotion", flow_run_name=named_after(_subject), validate_parameters=True)
@names_outages
def promotion(
    model_name: str | None = None,
    version: int | None = None,
    actor: str = "prefect",
    reason: str = "",
    tolerance: float = PromotionPolicy.tolerance,
    max_client_drop: float = PromotionPolicy.max_client_drop,
    require_approval: bool = False,
    approval_hours: float = 24.0,
) -> Outcome | State[Outcome]:
    """Run the gates on a version, make it champion if it passes all, and write the decision to the ledger.

    Args:
        model_name: a registered model; optional if there is only one.
        version: the candidate; the newest evaluated version by default.
        actor: the person who requests the promotion.
        reason: the reason for it.
        tolerance: share of the champion's quality by which the candidate may be worse.
        max_client_drop: share of the champion's value that a client may lose.
        require_approval: pause after the gates have passed until a person decides in Prefect's UI. The ledger
            then names that person instead of the actor, and their note instead of the reason.
        approval_hours: hours to wait for that decision. Afterwards the candidate is refused.
    """
    home = environment.apply()
    client = registry.open_registry(home)
    send_what_waits(home, announce)
    name = registry.resolve_model_name(client, model_name)
    policy = PromotionPolicy(tolerance=tolerance, max_client_drop=max_client_drop)
    candidate = version or registry.require_evaluated(client, name)
    answer: ApprovalDecision | None = None
    if require_approval:
        # The lock is free while a person decides. The gates run again afterwards.
        with ledger.locked(home):
            standing = settle(home, client, name)
            judged = _judged(client, name, candidate, standing, policy)
        if judged is not None and judged.passed:
            answer = request_approval(name, candidate, standing.instead(), judged.verdicts, approval_hours)
    with ledger.locked(home):
        standing = settle(home, client, name)
        judged = _judged(client, name, candidate, standing, policy)
        if judged is None:
            return _already_champion(name, home, standing)
        decision = PromotionDecision(
            kind="promotion",
            model_name=name,
            candidate=candidate,
            incumbent=standing.champion,
            verdicts=judged.verdicts + ((answer.verdict,) if answer else ()),
            actor=answer.actor or actor if answer else actor,
            reason=answer.note or reason if answer else reason,
            decided_at=shell.now(),
            evidence=judged.evidence.identity(),
            policy=asdict(policy.of(judged.evidence)),
            gone=standing.gone,
        )
        entry = record(home, client, decision)
    return _ended(entry, standing)


def _judged(
    client: Any, name: str, candidate: int, standing: Standing, policy: PromotionPolicy
) -> _Judged | None:
    """Return the current results of the gates; None if the candidate is the champion."""
    if candidate == standing.champion:
        return None
    evidence, trial = gather(client, name, candidate)
    champion, lost = shell.compared_with(client, name, standing)
    return _Judged(evidence, judge(evidence, trial, champion, policy, lost))


@flow(name="rollback", flow_run_name=named_after(_subject), validate_parameters=True)
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
    with ledger.locked(home):
        standing = settle(home, client, name)
        target = find_target(client, name, standing)
        decision = PromotionDecision(
            kind="rollback",
            model_name=name,
            candidate=target.version,
            incumbent=standing.champion,
            verdicts=(artefact_gate(target.trial),),
            actor=actor,
            reason=reason,
            decided_at=shell.now(),
            evidence=target.evidence.identity(),
            policy={},
            gone=target.gone,
        )
        entry = record(home, client, decision)
    return _ended(entry, standing)


def _ended(entry: Entry, standing: Standing) -> Outcome | State[Outcome]:
    outcome = _outcome(entry, standing)
    if entry.body["accepted"]:
        return outcome
    failed = ", ".join(verdict["gate"] for verdict in entry.body["verdicts"] if not verdict["passed"])
    return Completed(name="Refused", message=f"Gates that did not pass: {failed}.", data=outcome)


def _outcome(entry: Entry, standing: Standing) -> Outcome:
    """Return the command's output: the decision, and the current champion."""
    body = entry.body
    return {
        "model_name": body["model_name"],
        "kind": body["kind"],
        "version": body["candidate"],
        "promoted": body["accepted"],
        "already_champion": False,
        "previous": standing.champion,
        "gone": list(standing.gone),
        "verdicts": body["verdicts"],
        "decision_id": entry.hash,
        "actor": body["actor"],
        "reason": body["reason"],
        "decided_at": body["decided_at"],
        "evidence": body["evidence"],
        "repaired": list(standing.repaired),
    }


def _already_champion(model_name: str, home: Home, standing: Standing) -> Outcome:
    """Return the existing decision that made a version champion. No new one is written."""
    entry = shell.decision_of(ledger.read(home).entries, model_name, standing.stack[-1])
    if entry is None:
        raise NotFound(f"The champion of {model_name!r} has no decision in the ledger.")
    return _outcome(entry, standing) | {"already_champion": True, "previous": standing.before}
