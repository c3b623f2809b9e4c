"""A decision about the champion: the request, the gates' verdicts, the actor, the reason and the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from models.promotion.verdict import GateVerdict

DecisionKind = Literal["promotion", "rollback"]


@dataclass(frozen=True)
class PromotionDecision:
    """A decision to promote or roll back, accepted or refused.

    Attributes:
        kind: promotion or rollback.
        model_name: name of the registered model.
        candidate: the requested version.
        incumbent: the champion at the time of the decision, if any.
        verdicts: the verdicts of the gates.
        actor: who requested it.
        reason: the actor's reason; may be empty.
        decided_at: ISO 8601 in UTC.
        evidence: identity of the candidate's round: sha256, manifest_sha256, job_id, round, data_digest,
            catalog_digest; of a version with privacy its promise and the head of its account.
        policy: the thresholds that the gates applied; empty for a rollback.
        gone: champions that leave the stack, because they no longer exist or their artefacts are missing.
    """

    kind: DecisionKind
    model_name: str
    candidate: int
    incumbent: int | None
    verdicts: tuple[GateVerdict, ...]
    actor: str
    reason: str
    decided_at: str
    evidence: Mapping[str, Any]
    policy: Mapping[str, Any]
    gone: tuple[int, ...] = ()

    @property
    def accepted(self) -> bool:
        """Return whether every gate passed."""
        return all(verdict.passed for verdict in self.verdicts)

    def body(self) -> dict[str, Any]:
        """Return the decision as the body of a ledger entry."""
        return {
            "type": "decision",
            "kind": self.kind,
            "model_name": self.model_name,
            "candidate": self.candidate,
            "incumbent": self.incumbent,
            "accepted": self.accepted,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "actor": self.actor,
            "reason": self.reason,
            "decided_at": self.decided_at,
            "evidence": dict(self.evidence),
            "policy": dict(self.policy),
            "gone": list(self.gone),
        }


def applied_body(decision: Mapping[str, Any], decision_hash: str, applied_at: str) -> dict[str, Any]:
    """Return the body of the entry that records that the aliases have been set as decided."""
    return _closing("applied", decision, decision_hash) | {"applied_at": applied_at}


def abandoned_body(decision: Mapping[str, Any], decision_hash: str, abandoned_at: str) -> dict[str, Any]:
    """Return the body of the entry that records that a decided version was gone before it got its alias."""
    return _closing("abandoned", decision, decision_hash) | {"abandoned_at": abandoned_at}


def _closing(type_: str, decision: Mapping[str, Any], decision_hash: str) -> dict[str, Any]:
    return {
        "type": type_,
        "kind": decision["kind"],
        "model_name": decision["model_name"],
        "champion": decision["candidate"],
        "decision": decision_hash,
    }
