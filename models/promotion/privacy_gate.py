"""The gate of differential privacy: a version's account was charged for it, and is within its budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models.ledger.head import Head
from models.privacy.guarantee import Guarantee
from models.privacy.mechanisms import epsilon_of
from models.promotion.verdict import GateVerdict

PRIVACY = "privacy"
# With which a required epsilon is meant. A job of a larger delta is judged with this one.
LARGEST_DELTA = 1e-5
# The last digits of what accountants compute.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Spend:
    """What an account says about a version's job.

    Attributes:
        charged: the epsilon that it was charged for the job; None if it never was.
        spent: the epsilon of all jobs in the period of the budget in which the job was charged.
        is_before_reset: whether that is what they had spent when the account was reset.
        error: why the account cannot be read, or None.
        is_other: whether the account reserved another promise for the job than the version states.
        is_open: whether the job is not settled, so that the account does not say which model it released.
        lost: how the account differs from one that a job or a decision knew, or None.
        head: of the account that says all this; None if it cannot be read.
        other_model: digest of the model with which the job was settled, if it is not the version's.
    """

    charged: float | None = None
    spent: float = 0.0
    error: str | None = None
    is_other: bool = False
    is_open: bool = False
    other_model: str | None = None
    lost: str | None = None
    head: Head | None = None
    is_before_reset: bool = False


def privacy_gate(promised: Guarantee | None, spend: Spend, max_epsilon: float | None) -> GateVerdict:
    """Pass a version that keeps what it promises, and promises what is required.

    Nobody can approve a version that fails: its items do not show what it tells about a user.

    Args:
        promised: what the version promises; None if it promises nothing.
        spend: what its account says.
        max_epsilon: the largest epsilon that is accepted, with a delta of at most `LARGEST_DELTA`; a version
            that promises nothing is then refused. None to accept any version.
    """
    required = "the account was charged for what it promises, and is within its budget"
    if max_epsilon is not None:
        required = f"differential privacy with epsilon at most {max_epsilon:g}; {required}"
    if promised is None:
        return GateVerdict(PRIVACY, max_epsilon is None, "it promises no differential privacy", required)
    faults = [*_faults(promised, spend, max_epsilon)]
    said = (
        f"each {promised.unit} has epsilon {promised.epsilon:g}, delta {promised.delta:g}",
        *(faults or [f"the account {promised.account!r} {_balance(promised, spend)}"]),
    )
    return GateVerdict(PRIVACY, not faults, "; ".join(said), required)


def is_over_budget(promised: Guarantee, spent: float) -> bool:
    """Return whether an account that has spent this epsilon is beyond the budget of a job."""
    return spent > promised.budget + _ROUNDING


def _faults(promised: Guarantee, spend: Spend, max_epsilon: float | None) -> Iterator[str]:
    account = f"the account {promised.account!r}"
    if max_epsilon is not None and promised.epsilon > max_epsilon:
        yield f"above the epsilon of {max_epsilon:g} that is required"
    elif max_epsilon is not None and promised.delta > LARGEST_DELTA:
        told = epsilon_of(promised.mechanisms, LARGEST_DELTA)
        if told > max_epsilon + _ROUNDING:
            yield (
                f"with delta {LARGEST_DELTA:g} it is epsilon {told:.4g}, above the one of {max_epsilon:g} "
                "that is required"
            )
    if spend.error is not None:
        yield f"{account} cannot be read: {spend.error}"
    elif spend.lost is not None:
        yield f"{account} is not what it was: {spend.lost}; restore it from a copy"
    elif spend.charged is None:
        yield f"{account} was never charged for it"
    elif spend.is_other:
        yield f"{account} reserved another promise for its job, so the version's record was changed"
    elif spend.is_open:
        yield f"{account} was not settled for its job yet; run the job's command again to finish it"
    elif spend.other_model is not None:
        yield (
            f"{account} was charged for another model of this job, {spend.other_model[:12]}: promote the "
            "version of the job's last round, and none of another home's job of the same name"
        )
    elif spend.charged < promised.epsilon - _ROUNDING:
        yield f"{account} was charged an epsilon of {spend.charged:g} only"
    elif spend.charged > promised.epsilon + _ROUNDING:
        yield f"{account} was charged an epsilon of {spend.charged:.4g}, more than the version promises"
    elif is_over_budget(promised, spend.spent):
        yield f"{account} is over its budget: it {_balance(promised, spend)}"


def _balance(promised: Guarantee, spend: Spend) -> str:
    period = "" if promised.period == "ever" else f" of its {promised.period}"
    has, when = ("had", " before a reset") if spend.is_before_reset else ("has", "")
    return f"{has} spent {spend.spent:.4g} of {promised.budget:g}{period}{when}"
