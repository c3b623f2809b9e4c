"""Decisions on a version, as a promotion or a rollback makes them."""

from __future__ import annotations

from models.promotion.decision import DecisionKind, PromotionDecision
from models.promotion.verdict import GateVerdict


def decision(
    candidate: int,
    incumbent: int | None = None,
    *,
    kind: DecisionKind = "promotion",
    passed: bool = True,
    model: str = "movies",
    gone: tuple[int, ...] = (),
) -> PromotionDecision:
    """Return Ada's decision on a candidate of the round of its number, whose only gate was passed or not."""
    return PromotionDecision(
        kind=kind,
        model_name=model,
        candidate=candidate,
        incumbent=incumbent,
        verdicts=(GateVerdict("artefact", passed, "loads", "loads"),),
        actor="ada",
        reason="test",
        decided_at="2026-11-20T10:00:00+00:00",
        evidence={"job_id": "job-a", "round": candidate},
        policy={},
        gone=gone,
    )
