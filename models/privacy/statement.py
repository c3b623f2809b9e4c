"""What an account has spent and what is left, by period and by job, for people who look at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.privacy.account import PERIODS, Account, left_of
from models.privacy.mechanisms import epsilon_of

State = Literal["reserved", "settled", "before a reset"]


@dataclass(frozen=True)
class BudgetLine:
    """What is spent and left of a budget.

    Attributes:
        period: "ever", "year" or "month".
        current: the present one, such as "2026-11"; empty for "ever".
        delta: for which the epsilons are, the smallest of the jobs that count.
        budget: the epsilon that may be spent in the period, by the newest job that named one for it.
        spent: the epsilon of all that counts in it.
        left: the greatest epsilon that one more job may have. It is more than the difference of the two.
    """

    period: str
    current: str
    delta: float
    budget: float
    spent: float
    left: float


@dataclass(frozen=True)
class JobLine:
    """What a job spent.

    Attributes:
        job_id, config_name, model_name, unit: of the job.
        epsilon: of what counts for it alone.
        delta: for which that is.
        budget, period: the epsilon that the account might spend, and in which period, by the job's
            configuration. A later job may name more.
        state: "reserved" until it is settled with what it released. What was reserved "before a reset" counts
            no more.
        at: time of the last entry about it.
    """

    job_id: str
    config_name: str
    model_name: str
    unit: str
    epsilon: float
    delta: float
    budget: float
    period: str
    state: State
    at: str


def budget_lines(account: Account, now: str) -> list[BudgetLine]:
    """Return a line for each period for which a job named a budget, also before a reset.

    Args:
        account: the account.
        now: the time, which says what the present period is.
    """
    found = []
    for period in (each for each in PERIODS if each in account.newest):
        asked, spent = account.newest[period], account.spent(period, now)
        delta = account.delta_with(asked, now)
        found.append(
            BudgetLine(
                period=period,
                current=now[: PERIODS[period]],
                delta=delta,
                budget=asked.budget,
                spent=epsilon_of(spent, delta),
                left=left_of(asked.budget, delta, spent),
            )
        )
    return found


def job_lines(account: Account) -> list[JobLine]:
    """Return a line for each job that ever reserved something, in the order of the last entries."""
    found = []
    for each in account.earlier.values():
        asked = each.reservation
        state: State = "settled" if each.settled else "reserved"
        found.append(
            JobLine(
                job_id=asked.job_id,
                config_name=asked.config_name,
                model_name=asked.model_name,
                unit=asked.unit,
                epsilon=epsilon_of(each.mechanisms, asked.delta),
                delta=asked.delta,
                budget=asked.budget,
                period=asked.period,
                state=state if asked.job_id in account.jobs else "before a reset",
                at=each.at,
            )
        )
    return found


def budget_text(budget: float, period: str) -> str:
    """Return a budget and what it is for, such as "20 a year"; without a period the number alone."""
    return f"{budget:g}" if period == "ever" else f"{budget:g} a {period}"
