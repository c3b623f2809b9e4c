"""What the account of a version's job says, for the gate of differential privacy."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter

from models.errors import LedgerTampered
from models.privacy.account import Account
from models.privacy.guarantee import Guarantee
from models.privacy.mechanisms import epsilon_of
from models.promotion.evidence import RoundEvidence
from models.promotion.privacy_gate import Spend
from tasks.local.home import Home
from tasks.privacy.account_file import read_account
from tasks.promotion.account_heads import lost

# What a version's record states, and the account reserved.
_STATED = attrgetter("mechanisms", "epsilon", "delta", "budget", "unit", "period")


def spend_of(home: Home, evidence: RoundEvidence) -> Spend | None:
    """Return what the account that a version names was charged for its job, and spent in that period.

    Args:
        home: contains the accounts.
        evidence: of the version.

    Returns:
        None if the version promises no privacy.
    """
    promised = evidence.privacy
    if promised is None:
        return None
    try:
        # What is missing is found before the rest is read, because the account only grows.
        missing = lost(home, promised.account)
        account, head = read_account(home, promised.account)
    except LedgerTampered as error:
        return Spend(error=str(error))
    found = spend_in(account, promised, evidence.job_id, evidence.model_sha256)
    return replace(found, lost=missing, head=head)


def spend_in(account: Account, promised: Guarantee, job_id: str, model_sha256: str) -> Spend:
    """Return what an account was charged for a job, and what all jobs spent in the period of the charge.

    Of a job that was charged before a reset, it is what they had spent at the reset.

    Args:
        account: that the job names.
        promised: what the version's job promises.
        job_id: the job.
        model_sha256: digest of the version's model.
    """
    charged = account.earlier.get(job_id)
    if charged is None:
        return Spend()
    around = account.spent_around(job_id, promised.period)
    spent = [epsilon_of(each, promised.delta) for each in around]
    return Spend(
        charged=epsilon_of(charged.mechanisms, promised.delta),
        spent=max(spent),
        is_before_reset=max(spent) > spent[-1],
        is_other=_STATED(charged.reservation) != _STATED(promised),
        is_open=not charged.settled,
        other_model=charged.model_sha256 if charged.model_sha256 != model_sha256 else None,
    )
