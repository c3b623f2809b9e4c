"""Decides about a version: settles, gathers evidence, judges, records. It runs with and without Prefect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from models.errors import InvalidInput, NotFound
from models.ledger.chain import Entry
from models.promotion.champions import Standing
from models.promotion.decision import PromotionDecision
from models.promotion.evidence import RoundEvidence
from models.promotion.exposure_gate import EXPOSURE, approved, is_held
from models.promotion.gates import PromotionPolicy, artefact_gate, judge
from models.promotion.privacy_gate import Spend, privacy_gate
from models.promotion.verdict import GateVerdict
from tasks.local.home import Home
from tasks.promotion import ledger
from tasks.promotion import promote as shell
from tasks.promotion.shown_items import shown_items
from tasks.promotion.spend import spend_of
from tasks.promotion.versions import decision_of

# The command's output: the decision, and the current champion.
Outcome = dict[str, Any]


@dataclass(frozen=True)
class Steps:
    """The steps of a decision: plain functions, or Prefect tasks around them.

    Attributes:
        settle: makes ledger and aliases agree.
        gather: loads and scores a candidate.
        show: counts the items that a candidate and earlier champions recommend.
        find_spend: reads what the account of a candidate with privacy says.
        find_target: loads and scores an earlier champion.
        record: writes the decision and moves the aliases.
    """

    settle: Callable[..., Any] = shell.settle
    gather: Callable[..., Any] = shell.gather
    show: Callable[..., Any] = shown_items
    find_spend: Callable[..., Any] = spend_of
    find_target: Callable[..., Any] = shell.rollback_target
    record: Callable[..., Any] = shell.record


PLAIN = Steps()


@dataclass(frozen=True)
class ApprovalDecision:
    """A person's decision, or its absence.

    Attributes:
        verdict: in the form of a gate's verdict, so that the ledger shows it with those of the gates.
        actor: the person who decided; empty if the time ran out.
        note: the reason; may be empty.
    """

    verdict: GateVerdict
    actor: str = ""
    note: str = ""


# Asks a person whether a candidate that has passed the gates becomes champion. Its arguments are the
# candidate, the champion that it would replace, in words, and the verdicts.
Ask = Callable[[int, str, tuple[GateVerdict, ...]], ApprovalDecision]


@dataclass(frozen=True)
class _Judged:
    """The results of the gates for a candidate; of the champion itself, of the gate `privacy` alone."""

    evidence: RoundEvidence
    verdicts: tuple[GateVerdict, ...]
    is_champion: bool = False
    spend: Spend | None = None

    @property
    def is_askable(self) -> bool:
        """Return whether a person's decision is what is missing."""
        passed = all(verdict.passed for verdict in self.verdicts) or is_held(self.verdicts)
        return passed and not self.is_champion

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a decision records of the candidate, with the head of the account that the gate saw."""
        head = self.spend.head if self.spend else None
        return self.evidence.identity() | ({"account_head": asdict(head)} if head else {})

    @property
    def stays(self) -> bool:
        """Return whether it is the champion, and nothing speaks against it."""
        return self.is_champion and all(verdict.passed for verdict in self.verdicts)

    @property
    def exposure(self) -> GateVerdict | None:
        return next((verdict for verdict in self.verdicts if verdict.gate == EXPOSURE), None)


def require_named(version: int | None, approve_exposure: bool, reason: str) -> None:
    """Raise `InvalidInput` unless an approval of the exposure names its version and its reason."""
    if approve_exposure and not reason.strip():
        raise InvalidInput(
            "An approval of the exposure overrides an alarm, and no reason is given.",
            next_step="Say why these items are in so many lists, with --reason TEXT; the ledger records it.",
        )
    if approve_exposure and version is None:
        raise InvalidInput(
            "An approval of the exposure is one of a version that a person has looked at, and none is named.",
            next_step="Name the version whose items the gate showed, with --version N.",
        )


def decide_promotion(
    home: Home,
    client: Any,
    name: str,
    candidate: int,
    policy: PromotionPolicy,
    *,
    actor: str,
    reason: str,
    steps: Steps = PLAIN,
    ask: Ask | None = None,
    approve_exposure: bool = False,
) -> Outcome:
    """Run the gates on a version, make it champion if it passes all, and write the decision to the ledger.

    The champion itself is judged only if an epsilon is required, and only by the gate `privacy`. If it fails,
    that is written down as a refusal, and it stays champion.

    Args:
        home: contains the ledger.
        client: the registry.
        name: the registered model.
        candidate: the version.
        policy: the limits of the gates.
        actor, reason: who decides, and why.
        steps: how each step runs.
        ask: asks a person first; None to decide by the gates alone. The ledger then names that person instead
            of the actor, and their note instead of the reason. Their approval passes the exposure gate, too,
            if it still observes what they saw.
        approve_exposure: whether the actor has looked at the items that the exposure gate names, and approves
            them.
    """
    answer: ApprovalDecision | None = None
    seen: GateVerdict | None = None
    if ask is not None:
        # The lock is free while a person decides. The gates run again afterwards.
        with ledger.locked(home):
            standing = steps.settle(home, client, name)
            judged = _judged(home, client, name, candidate, standing, policy, steps)
        if judged is not None and judged.is_askable:
            seen = judged.exposure
            answer = ask(candidate, standing.instead(), judged.verdicts)
    with ledger.locked(home):
        standing = steps.settle(home, client, name)
        judged = _judged(home, client, name, candidate, standing, policy, steps)
        if judged is None or judged.stays:
            return _already_champion(name, home, standing)
        verdicts = judged.verdicts
        if answer is not None and answer.verdict.passed and seen == judged.exposure:
            verdicts = approved(verdicts, answer.actor)
        elif approve_exposure:
            verdicts = approved(verdicts, actor)
        decision = PromotionDecision(
            kind="promotion",
            model_name=name,
            candidate=candidate,
            incumbent=standing.champion,
            verdicts=verdicts + ((answer.verdict,) if answer else ()),
            actor=answer.actor or actor if answer else actor,
            reason=answer.note or reason if answer else reason,
            decided_at=shell.now(),
            evidence=judged.facts,
            policy=asdict(policy.of(judged.evidence)),
            gone=standing.gone,
        )
        entry = steps.record(home, client, decision)
    return _outcome(entry, standing) | {"already_champion": judged.is_champion}


def decide_rollback(
    home: Home, client: Any, name: str, *, actor: str, reason: str, steps: Steps = PLAIN
) -> Outcome:
    """Make the previous champion serve again, if its artefact still loads and scores.

    Args:
        home, client, name, actor, reason, steps: as in `decide_promotion`.

    Raises:
        NotFound: there is no previous champion, or none is left.
    """
    with ledger.locked(home):
        standing = steps.settle(home, client, name)
        target = steps.find_target(client, name, standing)
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
        entry = steps.record(home, client, decision)
    return _outcome(entry, standing)


def _judged(
    home: Home,
    client: Any,
    name: str,
    candidate: int,
    standing: Standing,
    policy: PromotionPolicy,
    steps: Steps,
) -> _Judged | None:
    """Return the current results of the gates; None if it is the champion, and no gate is asked."""
    if candidate == standing.champion:
        if policy.max_epsilon is None:
            return None
        evidence = shell.facts_of(client, name, candidate)
        spend = steps.find_spend(home, evidence) if evidence.privacy else None
        verdict = privacy_gate(evidence.privacy, spend or Spend(), policy.max_epsilon)
        return _Judged(evidence, (verdict,), is_champion=True, spend=spend)
    evidence, trial = steps.gather(client, name, candidate)
    champion, lost = shell.compared_with(client, name, standing)
    shown = steps.show(client, name, candidate, standing, policy.exposure)
    spend = steps.find_spend(home, evidence) if evidence.privacy else None
    verdicts = judge(evidence, trial, champion, shown, policy, lost, spend)
    return _Judged(evidence, verdicts, spend=spend)


def _outcome(entry: Entry, standing: Standing) -> Outcome:
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
    entry = decision_of(ledger.read(home).entries, model_name, standing.stack[-1])
    if entry is None:
        raise NotFound(f"The champion of {model_name!r} has no decision in the ledger.")
    return _outcome(entry, standing) | {"already_champion": True, "previous": standing.before}
