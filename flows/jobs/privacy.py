"""What a job promises its users, and the account that is charged for it before any client trains."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from flows.settings.training_config import TrainingConfig
from flows.terminal.progress import announce
from models.errors import QuorumNotReached
from models.federation.rounds import plan_round
from models.privacy.guarantee import Guarantee
from models.privacy.mechanisms import multiplier_for
from models.privacy.noise_plan import NoisePlan
from models.secure_sum.graph import threshold
from tasks.jobs.journal import Journal, TakeOver
from tasks.messages.answers import Checked
from tasks.messages.job_opening import JobOpening


def guarantee_of(config: TrainingConfig, client_ids: tuple[str, ...]) -> Guarantee | None:
    """Return what a new job of these clients promises; None if its clients add no noise."""
    asked = config.privacy
    if asked.unit is None or asked.epsilon is None:
        return None
    return Guarantee(
        unit=asked.unit,
        epsilon=asked.epsilon,
        delta=asked.delta,
        multiplier=multiplier_for(asked.epsilon, asked.delta),
        summands=_fewest_summands(config, client_ids),
        figures_share=asked.figures_share,
        noise_by="clients under secure sums" if asked.secure_sum else "clients",
        account=asked.account,
        budget=asked.budget,
        period=asked.period,
    )


def promising(guarantee: Guarantee) -> TakeOver:
    """Return the function by which a new job notes its promise before it exists.

    Such a job takes over no rounds of another one, whose noise was planned for other rounds.
    """

    def promise(draft: Journal, opening: JobOpening) -> JobOpening:
        return replace(opening, privacy=guarantee, series=None, shared_rounds=None)

    return promise


def tell(guarantee: Guarantee) -> None:
    """Announce what a job promises, in one line."""
    announce(
        f"Each {guarantee.unit} has differential privacy of epsilon {guarantee.epsilon:g} and delta "
        f"{guarantee.delta:g}: noise multiplier {guarantee.multiplier:.3g}, added by {guarantee.noise_by}, "
        f"charged to the account {guarantee.account!r}."
    )


def without_figures(answer: Checked) -> Checked:
    """Return a client's verdict on its data without numbers, which have no noise."""
    return replace(answer, outcome=replace(answer.outcome, breaches=(), result={}), users=0, interactions=0)


def require_summands(noise: NoisePlan, what: str, answered: Collection[str]) -> None:
    """Raise `QuorumNotReached` unless so many clients answered that their sum has enough noise.

    Args:
        noise: of the job.
        what: what they answered to, for the error.
        answered: the clients.
    """
    if len(answered) < noise.summands:
        raise QuorumNotReached(
            f"The {what} has the figures of {len(answered)} clients, and needs {noise.summands}: each adds "
            "that share of the noise.",
            next_step="Run the same command again when the other clients are back.",
            found=len(answered),
            needed=noise.summands,
        )


def _fewest_summands(config: TrainingConfig, client_ids: tuple[str, ...]) -> int:
    """Return the least number of clients with which a round or an evaluation completes."""
    if config.privacy.secure_sum:
        return threshold(len(client_ids))
    federation = config.federation
    return plan_round(
        1,
        seed=config.seed,
        clients=client_ids,
        cohort_share=federation.cohort_share,
        quorum_share=federation.quorum_share,
    ).quorum
