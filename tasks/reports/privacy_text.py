"""What a job promises its users, in words."""

from __future__ import annotations

from models.evaluation.judgement import judgement_of
from models.privacy.account import left_of
from models.privacy.guarantee import Guarantee
from models.privacy.mechanisms import Mechanism, multiplier_for
from tasks.messages.job_result import JobResult

_PERIODS = {"ever": "in all", "year": "of this calendar year", "month": "of this calendar month"}


def privacy_note(result: JobResult) -> str | None:
    """Return the promise, and towards whom it does not hold; None if clients add no noise."""
    promised = result.privacy
    if promised is None:
        return None
    note = (
        f"Each {promised.unit} has differential privacy with epsilon {promised.epsilon:g} and delta "
        f"{promised.delta:g}"
    )
    if promised.covers_coordinator:
        return f"{note}."
    return f"{note}, but not towards the coordinator: it read updates with a share of the noise only."


def privacy_paragraph(result: JobResult) -> list[str]:
    """Return the sentences about the promise, its noise and the account; none if clients add no noise."""
    promised = result.privacy
    if promised is None:
        return []
    return [
        f"Each {promised.unit}, with all interactions, has differential privacy with epsilon "
        f"{promised.epsilon:g} and delta {promised.delta:g}: whoever sees the models and figures of this job "
        "learns hardly more about a person than from a job on the data of all others.",
        f"The clients add {promised.mechanism} noise. Its multiplier is {promised.multiplier:.4g} over all "
        f"that the job releases, and each sum has the noise of at least {promised.summands} clients.",
        _towards_coordinator(promised),
        _figures(result),
        "Numbers of users and interactions, figures of single clients and baselines without noise are not "
        "told.",
        _balance(promised, result.account_epsilon),
    ]


def _towards_coordinator(promised: Guarantee) -> str:
    if not promised.covers_coordinator:
        return (
            "The coordinator received each client's update, which has a share of the noise only. So the "
            "promise holds towards all others; with privacy.secure_sum it holds towards the coordinator, too."
        )
    return "The sums were secure, so nobody had one without noise, and nobody an update of a single client."


def _figures(result: JobResult) -> str:
    text = "Figures are sums over all clients, with noise, so they differ from exact ones by chance"
    margins = result.figures_noise or {}
    by = judgement_of(margins)
    if by.quality not in margins:
        return f"{text}."
    return (
        f"{text}: noise alone moves {by.quality_label} by up to {margins[by.quality]:.4f} in 95 of 100 jobs, "
        "and the difference of two such jobs by 1.4 times as much."
    )


def _balance(promised: Guarantee, spent: float | None) -> str:
    account = f"The account {promised.account!r}"
    if spent is None:
        return f"{account} is charged for the whole job, also if it never finishes."
    period = _PERIODS[promised.period]
    return (
        f"{account} has spent an epsilon of {spent:.4g} of its budget of {promised.budget:g} {period}. One "
        f"more job may have {_left(promised, spent):.4g}."
    )


def _left(promised: Guarantee, spent: float) -> float:
    """Return the epsilon that one more job may have. One mechanism stands for all, which are Gaussian."""
    before = [Mechanism(multiplier_for(spent, promised.delta))] if spent else []
    return left_of(promised.budget, promised.delta, before)
