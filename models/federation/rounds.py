"""The plan of a round, and its quorum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from models.errors import InvalidInput, QuorumNotReached
from models.federation.robust_merge import RobustMerge
from models.kernel.seeds import generator_for

# A message with hundreds of clients and reasons says less than one with a few.
_NAMED = 5
_REPAIR = "Repair those clients and run the same command again. It continues from the last round."
_CORRECT_DATA = (
    "Correct their data, or set the limits in contracts.interactions to what they hold, and run the command "
    "again."
)
Stage = Literal["policy", "interactions", "training", "deadline", "update"]


@dataclass(frozen=True)
class RoundPlan:
    """The plan of one round. The same job and round give the same plan.

    Attributes:
        round: number of the model that the round makes from model `round - 1`.
        seed: the job's seed.
        cohort: ids of the clients selected, sorted.
        quorum: the least number of accepted updates.
    """

    round: int
    seed: int
    cohort: tuple[str, ...]
    quorum: int


@dataclass(frozen=True)
class Rejection:
    """A client whose update is not in a round's model, and why."""

    client_id: str
    stage: Stage
    reason: str


def plan_round(
    round_: int,
    *,
    seed: int,
    clients: Iterable[str],
    cohort_share: float,
    quorum_share: float,
) -> RoundPlan:
    """Return the plan of a round: a cohort drawn without replacement, the same for the same seed and round.

    Args:
        round_: at least 1.
        clients: ids of all clients, in any order.
        cohort_share: share of the clients selected, in (0, 1]; rounded up.
        quorum_share: share of the cohort that must send an update, in [0, 1]; rounded up, at least one.

    Raises:
        InvalidInput: there are no clients.
    """
    everyone = sorted(clients)
    if not everyone:
        raise InvalidInput("A round needs at least one client, got none.")
    size = cohort_size(len(everyone), cohort_share)
    drawn = generator_for(seed, "cohort", round_).choice(len(everyone), size=size, replace=False)
    cohort = tuple(everyone[i] for i in sorted(drawn.tolist()))
    quorum = max(1, _share_of(len(cohort), quorum_share))
    return RoundPlan(round=round_, seed=seed, cohort=cohort, quorum=quorum)


def is_evaluated(round_: int, *, every: int, rounds: int) -> bool:
    """Return whether a job of `rounds` rounds evaluates this one: every `every`-th, and the last."""
    return round_ % every == 0 or round_ == rounds


def cohort_size(clients: int, cohort_share: float) -> int:
    """Return the number of clients that each round selects from `clients` clients."""
    return _share_of(clients, cohort_share)


def require_quorum(plan: RoundPlan, accepted: Iterable[str], rejected: Iterable[Rejection]) -> None:
    """Raise `QuorumNotReached` unless enough clients sent a usable update.

    Raises:
        QuorumNotReached: fewer clients than the quorum did. It names the first of the others, and why.
    """
    delivered = sorted(accepted)
    if len(delivered) >= plan.quorum:
        return
    reasons = tuple(rejected)
    unfit = bool(reasons) and all(r.stage == "interactions" for r in reasons)
    next_step = _CORRECT_DATA if unfit else _REPAIR
    raise QuorumNotReached(
        f"Round {plan.round} got {len(delivered)} usable updates from {len(plan.cohort)} selected clients, "
        f"but its quorum is {plan.quorum}. Missing: {named(reasons)}.",
        next_step=next_step,
        round=plan.round,
        accepted=delivered,
        rejected=reasons,
        quorum=plan.quorum,
    )


def named(rejections: Sequence[Rejection]) -> str:
    """Return the first clients and why they are missing, as the end of a sentence."""
    first = [f"{each.client_id} ({each.stage}: {each.reason.rstrip('.')})" for each in rejections[:_NAMED]]
    more = len(rejections) - _NAMED
    return ("; ".join(first) + (f"; and {more} more" if more > 0 else "")) or "none"


def require_vectors(
    plan: RoundPlan,
    robust: RobustMerge,
    vectors: int,
    accepted: Iterable[str],
    rejected: Iterable[Rejection],
) -> None:
    """Raise `QuorumNotReached` unless so many vectors are enough for the round's robust merge."""
    try:
        robust.require(vectors)
    except InvalidInput as few:
        raise QuorumNotReached(
            f"Round {plan.round} cannot be merged: {few.what}",
            next_step=_REPAIR,
            round=plan.round,
            accepted=sorted(accepted),
            rejected=tuple(rejected),
            quorum=plan.quorum,
        ) from few


def _share_of(count: int, share: float) -> int:
    # In decimals, as the share was written. In floats, 0.07 * 100 is above 7 and would round up to 8.
    return math.ceil(Fraction(str(share)) * count)
