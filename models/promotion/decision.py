"""A decision about who serves: what was asked, what the gates said, who asked, why and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from models.promotion.gates import GateVerdict

DecisionKind = Literal["promotion", "rollback"]


@dataclass(frozen=True)
class PromotionDecision:
    """One decision, taken or refused; a rollback uses the same record.

    Attributes:
        kind: promotion or rollback.
        model_name: which registered model.
        candidate: the version asked for.
        incumbent: the champion at that time, if any.
        verdicts: what the gates said.
        actor: who asked.
        reason: why, in the actor's words; may be empty.
        decided_at: ISO 8601 in UTC.
        evidence: identity of the candidate's round: sha256, manifest_sha256, job_id, round, data_digest,
            catalog_digest.
        policy: the thresholds that the gates applied; empty for a rollback.
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

    @property
    def accepted(self) -> bool:
        """Whether every gate passed."""
        return all(verdict.passed for verdict in self.verdicts)

    def body(self) -> dict[str, Any]:
        """The decision as the body of a ledger entry."""
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
        }


def applied_body(decision: Mapping[str, Any], decision_hash: str, applied_at: str) -> dict[str, Any]:
    """The body of the entry that says: the aliases now stand as this decision wanted."""
    return {
        "type": "applied",
        "kind": decision["kind"],
        "model_name": decision["model_name"],
        "champion": decision["candidate"],
        "decision": decision_hash,
        "applied_at": applied_at,
    }
