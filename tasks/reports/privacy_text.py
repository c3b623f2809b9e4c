"""What a job promises its users, in words."""

from __future__ import annotations

from models.privacy.guarantee import Guarantee
from tasks.messages.job_result import JobResult

_PERIODS = {"ever": "in all", "year": "of this calendar year", "month": "of this calendar month"}


def privacy_note(result: JobResult) -> str | None:
    """Return the promise in one sentence; None if clients add no noise."""
    promised = result.privacy
    if promised is None:
        return None
    return (
        f"Each {promised.unit} has differential privacy with epsilon {promised.epsilon:g} and delta "
        f"{promised.delta:g}."
    )


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
        "Figures are sums over all clients, with noise, so they differ from exact ones by chance. Numbers of "
        "users and interactions, figures of single clients and baselines without noise are not told.",
        _balance(promised, result.account_epsilon),
    ]


def _towards_coordinator(promised: Guarantee) -> str:
    if promised.noise_by == "clients":
        return (
            "The coordinator received each client's update, which has a share of the noise only. So the "
            "promise holds towards all others; with privacy.secure_sum it holds towards the coordinator, too."
        )
    return "The sums were secure, so nobody had one without noise, and nobody an update of a single client."


def _balance(promised: Guarantee, spent: float | None) -> str:
    account = f"The account {promised.account!r}"
    if spent is None:
        return f"{account} is charged for the whole job, also if it never finishes."
    period = _PERIODS[promised.period]
    left = max(0.0, promised.budget - spent)
    return (
        f"{account} has spent an epsilon of {spent:.4g} of its budget of {promised.budget:g} {period}, which "
        f"leaves {left:.4g}."
    )
