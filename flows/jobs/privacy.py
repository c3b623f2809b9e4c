"""What a job promises its users, and the account that is charged for it before any client trains."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from flows.settings.training_config import TrainingConfig
from flows.terminal.progress import announce
from models.errors import InvalidConfig, QuorumNotReached
from models.federation.fixed_point import METRIC_STEP, ranges_for
from models.federation.rounds import plan_round
from models.kernel.ranges import Range
from models.ledger.head import Head
from models.privacy.account import Reservation
from models.privacy.discrete_gaussian import LARGEST_DEVIATION, LEAST_DEVIATION
from models.privacy.figure_noise import figures_deviation
from models.privacy.guarantee import Guarantee
from models.privacy.mechanisms import epsilon_of, multiplier_for
from models.privacy.noise_plan import NoisePlan
from models.recommenders.families.registry import family_of
from models.secure_sum.graph import threshold
from tasks.jobs.journal import Journal, TakeOver
from tasks.local.home import Home
from tasks.messages.answers import Checked
from tasks.messages.job_opening import JobOpening
from tasks.privacy.account_file import read_account, reserve, settle


def guarantee_of(config: TrainingConfig, client_ids: tuple[str, ...]) -> Guarantee | None:
    """Return what a new job of these clients promises; None if its clients add no noise.

    Raises:
        InvalidConfig: its noise cannot be drawn in the steps of an array or of the figures, or does not fit
            into an array's range. Clients would find that out after the account was charged.
    """
    asked = config.privacy
    if asked.unit is None or asked.epsilon is None or asked.budget is None:
        return None
    promised = Guarantee(
        unit=asked.unit,
        epsilon=asked.epsilon,
        delta=asked.delta,
        multiplier=multiplier_for(asked.epsilon, asked.delta),
        summands=fewest_summands(config, client_ids),
        figures_share=asked.figures_share,
        noise_by="clients under secure sums" if asked.secure_sum else "clients",
        account=asked.account,
        budget=asked.budget,
        period=asked.period,
    )
    _require_drawable(config, promised.plan)
    return promised


def charging(home: Home, guarantee: Guarantee) -> TakeOver:
    """Return the function by which a new job charges its account before it exists.

    Such a job takes over no rounds of another one, whose noise was planned for other rounds.

    Raises:
        BudgetExceeded: when called, if the account has too little left. Nothing is left behind.
    """

    def charged(draft: Journal, opening: JobOpening) -> JobOpening:
        promised = replace(opening, privacy=guarantee, series=None, shared_rounds=None)
        paid = replace(promised, account_head=charge(home, draft.job_id, promised))
        draft.note_unasked()
        return paid

    return charged


def charge(home: Home, job_id: str, opening: JobOpening) -> Head | None:
    """Charge the account for all that a job may release, unless it has been charged for this job.

    A job that continues finds its reservation. If the account was lost in between, this charges it again.

    Returns:
        The head of the account, which the job's opening keeps; None if its clients add no noise.

    Raises:
        BudgetExceeded: the account has too little left.
    """
    if (promised := opening.privacy) is None:
        return None
    return reserve(
        home,
        promised.account,
        Reservation(
            job_id=job_id,
            config_name=opening.name,
            model_name=opening.model_name,
            mechanisms=promised.mechanisms,
            epsilon=promised.epsilon,
            delta=promised.delta,
            budget=promised.budget,
            unit=promised.unit,
            period=promised.period,
        ),
    )


def account_settled(home: Home, journal: Journal) -> float | None:
    """Note in the account that a finished job has released all, and return the epsilon spent in its period.

    Returns:
        None if its clients add no noise.
    """
    if (promised := journal.opening.privacy) is None:
        return None
    model_sha256 = journal.committed()[-1].model_sha256
    settle(home, promised.account, journal.job_id, promised.mechanisms, model_sha256)
    return _spent(home, promised)


def settled_with_nothing(home: Home, journal: Journal) -> float | None:
    """Note in the account that a job released nothing, and return the epsilon spent in its period.

    Nothing is noted unless it is sure that no client was asked to train. A job that continues is charged
    again when it is opened (`charge`), by this process or another one, which cannot open it meanwhile.

    Returns:
        None if the job stays charged, or its clients add no noise.

    Raises:
        LeaseLost: another process has taken the job over.
    """
    promised = journal.opening.privacy
    with journal.guarded():
        if promised is None or not journal.is_unasked:
            return None
        settle(home, promised.account, journal.job_id, (), None)
        return _spent(home, promised)


def _spent(home: Home, promised: Guarantee) -> float:
    """Return the epsilon that a job's account has spent in its present period."""
    account, _ = read_account(home, promised.account)
    return epsilon_of(account.spent(promised.period, account.at), promised.delta)


def is_charged(home: Home, guarantee: Guarantee | None, job_id: str) -> bool:
    """Return whether an account was charged for a job of this id, which another job must not have again.

    Its noise would be that of the other job, or the account would be charged for one of them only.
    """
    return guarantee is not None and job_id in read_account(home, guarantee.account)[0].earlier


def tell(guarantee: Guarantee) -> None:
    """Announce what a job promises, and towards whom it does not hold."""
    announce(
        f"Each {guarantee.unit} has differential privacy of epsilon {guarantee.epsilon:g} and delta "
        f"{guarantee.delta:g}: noise multiplier {guarantee.multiplier:.3g}, added by {guarantee.noise_by}, "
        f"charged to the account {guarantee.account!r}."
    )
    if not guarantee.covers_coordinator:
        announce(
            "Without secure sums the coordinator reads each client's update, which has a share of the noise "
            "only: the promise does not hold towards it. Set privacy.secure_sum: true to let it hold."
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


def _require_drawable(config: TrainingConfig, noise: NoisePlan) -> None:
    """Raise `InvalidConfig` unless clients can draw the noise of all that they send."""
    family = family_of(config.train)
    ranges: dict[str, Range] = {}
    for kind in family.contribution_types:
        ranges |= ranges_for(kind, family.rule().ranges, config.fixed_point)
    for round_ in range(1, config.federation.rounds + 1):
        deviations = noise.client_deviations(family.unit_noise(round_) or {})
        for name, deviation in deviations.items():
            most = min(LARGEST_DEVIATION, float(ranges[name].highest))
            _require_steps(f"the array {name!r}", deviation / ranges[name].step, most)
    if config.privacy.figures_share:
        deviation = figures_deviation(noise, len(family.judgement.metrics))
        _require_steps("the figures", deviation / METRIC_STEP, LARGEST_DEVIATION)


def _require_steps(what: str, deviation: float, most: float) -> None:
    if LEAST_DEVIATION <= deviation <= most:
        return
    too_little = deviation < LEAST_DEVIATION
    raise InvalidConfig(
        f"With privacy.epsilon, each client's noise in {what} has a standard deviation of {deviation:.3g} "
        f"steps, expected {LEAST_DEVIATION:g} to {most:.3g}.",
        next_step="Lower privacy.epsilon, or choose a finer step for the array in fixed_point."
        if too_little
        else "Raise privacy.epsilon, or let privacy.figures_share leave more of it.",
        key="privacy.epsilon",
    )


def fewest_summands(config: TrainingConfig, client_ids: tuple[str, ...]) -> int:
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
