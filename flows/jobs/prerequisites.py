"""What a job needs before it starts: data to learn from, enough clients, memory, and what it imports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from flows.jobs.privacy import fewest_summands, settled_with_nothing
from flows.runners.local_threads import threads_of
from flows.settings.training_config import TrainingConfig
from flows.terminal.progress import announce
from models.errors import InvalidConfig, InvalidInput, QuorumNotReached
from models.evaluation.judgement import RATINGS
from models.federation.rounds import cohort_size
from models.recommenders.base.family import Family
from models.recommenders.families.registry import families, family_of
from models.secure_sum.graph import FEWEST
from tasks.coordinator.trust_store import TrustStore
from tasks.datasets.partition_reader import Partition
from tasks.local.home import Home
from tasks.local.memory import available_bytes
from tasks.messages.answers import Declined

if TYPE_CHECKING:
    from flows.jobs.job import Job

_GIGABYTE = 1e9


def import_ahead() -> None:
    """Import Great Expectations and what draws a report, which takes seconds.

    Call this before any other thread of the job imports anything: two threads that import packages that need
    each other may each get half of one. MLflow is imported by the thread that speaks to it, and by no other.
    """
    import data_contracts.expectations  # noqa: F401 - imported for later
    import tasks.reports.report_figures  # noqa: F401 - imported for later


def require_ratings(config: TrainingConfig, partition: Partition) -> None:
    """Raise `InvalidInput` if the family learns from ratings and the partition is known to have none."""
    learns_ratings = family_of(config.train).judgement is RATINGS
    if learns_ratings and partition.report is not None and partition.report.ratings is None:
        raise InvalidInput(
            f"The interactions of {partition.root} have no ratings to learn from, as train.family "
            f"{config.train.family} does.",
            next_step="Take a partition of interactions with a column 'rating', or another train.family.",
            path=partition.root,
        )


def require_participants(home: Home, config: TrainingConfig, partition: Partition) -> None:
    """Raise `InvalidConfig` if a silo never enrolled, or there are too few clients for what a round does."""
    require_enrolled(home, config)
    require_clients(config, partition)
    require_sum_members(config, partition)


def require_clients(config: TrainingConfig, partition: Partition) -> None:
    """Raise `InvalidConfig` if the rounds have too few clients for their robust merge."""
    federation = config.federation
    robust, cohort = federation.robust, cohort_size(len(partition.clients), federation.cohort_share)
    try:
        robust.require(max(1, cohort // robust.group))
    except InvalidInput as few:
        raise InvalidConfig(
            f"federation.robust does not fit rounds of {cohort} clients, {robust.group} or more a vector: "
            f"{few.what}",
            next_step=few.next_step,
            key="federation.robust",
        ) from few


def require_sum_members(config: TrainingConfig, partition: Partition) -> None:
    """Raise `InvalidConfig` if the rounds select too few clients for a secure sum."""
    federation, clients = config.federation, len(partition.clients)
    cohort = cohort_size(clients, federation.cohort_share)
    if not config.privacy.secure_sum or cohort >= FEWEST:
        return
    few = clients < FEWEST
    key = ("runner.silos" if config.runner.has_silos else "data.dir") if few else "federation.cohort_share"
    raise InvalidConfig(
        f"privacy.secure_sum needs rounds of at least {FEWEST} clients, because with two each learns the "
        f"other's values from the sum. The job has {clients} clients, of which a round selects {cohort}.",
        next_step="Wait for more silos, or set privacy.secure_sum to false."
        if few
        else f"Raise {key} to at least {FEWEST / clients:.2g}.",
        key=key,
    )


def require_enrolled(home: Home, config: TrainingConfig) -> None:
    """Raise `InvalidConfig` if the runner's silos include one of which the coordinator never had a key.

    One whose key was removed later does not stop a job: the others go on without it.
    """
    if not config.runner.has_silos:
        return
    trust = TrustStore(home)
    known = {*trust.keys(), *trust.revoked().values()}
    unknown = [each for each in config.runner.silos if each not in known]
    if not unknown:
        return
    first = unknown[0]
    invite = (
        f"Invite it: fedrec invite {first}"
        if config.runner.kind == "gateway"
        else f"Have it run fedrec silo enrol --name {first}, then run fedrec trust {first} FILE with its "
        "public.pem"
    )
    raise InvalidConfig(
        f"runner.silos names {', '.join(map(repr, unknown))}, of which no key was ever trusted here, so no "
        "answer could be verified.",
        next_step=f"{invite}. Or leave it out of runner.silos.",
        key="runner.silos",
    )


def require_memory(config: TrainingConfig, partition: Partition) -> None:
    """Raise `InvalidConfig` if the arrays with a value for each pair of items do not fit into the memory."""
    items, pair = len(partition.catalog), _pair_bytes(config, partition)
    needed, available = pair * items**2, available_bytes()
    if needed <= available:
        return
    others = _families_without_pairs(family_of(config.train))
    step = f"Choose a train.family without pairs of items ({', '.join(others)})"
    if not config.runner.has_silos:
        most = int((available / pair) ** 0.5)
        step += f", or keep the most used items: fedrec data partition --max-items {most}"
    raise InvalidConfig(
        f"train.family {config.train.family} needs about {_amount(needed)} of memory for the pairs of "
        f"{items:,} items, {pair} bytes each, but {_amount(available)} are available.",
        next_step=f"{step}.",
        key="train.family",
        needed_bytes=needed,
        available_bytes=available,
    )


def memory_line(config: TrainingConfig, partition: Partition) -> str:
    """Return a sentence about the memory that the pairs of items take; empty if the family has no pairs."""
    items, pair = len(partition.catalog), _pair_bytes(config, partition)
    if not pair:
        return ""
    return (
        f"{config.train.family} takes about {_amount(pair * items**2)} of memory for the pairs of {items:,} "
        f"items. {_amount(available_bytes())} are available."
    )


def _pair_bytes(config: TrainingConfig, partition: Partition) -> int:
    """Return the bytes that each pair of items takes in this process at the job's peak."""
    # Clients of silos and clusters work in processes of their own.
    here = config.runner.kind == "threads"
    at_once = min(threads_of(config.runner.threads), len(partition.clients)) if here else 0
    return family_of(config.train).pair_bytes(at_once)


def _families_without_pairs(like: Family) -> list[str]:
    """Return the names of the families without pairs whose models are judged in the same way."""
    found = (family(family.spec_type()) for family in families())
    return [each.name() for each in found if each.judgement is like.judgement and not each.pair_bytes(1)]


def _amount(count: int) -> str:
    return f"{count / _GIGABYTE:,.1f} GB"


def require_willing(job: Job, declined: Mapping[str, Declined]) -> None:
    """Raise `QuorumNotReached` if the job needs the silos that decline. Otherwise it goes on without them.

    Then the account is charged nothing if no client was asked to train.

    Args:
        job: whose clients' data have been checked.
        declined: silo -> what its owner requires.
    """
    if not declined:
        return
    reasons = _reasons(declined)
    left, needed = len(job.client_ids) - len(declined), fewest_summands(job.config, job.client_ids)
    if left >= needed:
        announce(f"{reasons} The job goes on without.")
        return
    account_epsilon = settled_with_nothing(job.home, job.journal)
    charge = ""
    if promised := job.journal.opening.privacy:
        paid = "stays charged for the job" if account_epsilon is None else "is charged nothing"
        charge = f" The account {promised.account!r} {paid}."
    raise QuorumNotReached(
        f"{reasons} So {left} of {len(job.client_ids)} silos are left, and the job needs {needed}.{charge}",
        next_step=_next_step(declined),
        account_epsilon=account_epsilon,
        declined=tuple(sorted(declined)),
    )


def _next_step(declined: Mapping[str, Declined]) -> str:
    least = min(declined.values(), key=lambda each: each.most)
    limit = f"{least.most:g} or less, with privacy.delta {least.delta:g}"
    lower = f"Lower privacy.epsilon to {limit}"
    if any(each.epsilon is None for each in declined.values()):
        lower = f"Set privacy.unit, privacy.budget and a privacy.epsilon of {limit}"
    return f"{lower}, or agree on a larger policy.max_epsilon with whoever owns {_listed(declined)}."


def _reasons(declined: Mapping[str, Declined]) -> str:
    """Return a sentence for all silos that decline for the same reason."""
    sentences = []
    for why in sorted(set(declined.values()), key=str):
        names = [name for name, each in declined.items() if each == why]
        who = f"Silo {names[0]!r}" if len(names) == 1 else f"Each of the silos {_listed(names)}"
        sentences.append(f"{who} {why}.")
    return " ".join(sentences)


def _listed(silos: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(silos)))
