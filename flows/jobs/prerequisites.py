"""What a job needs before it starts: data to learn from, enough clients, memory, and what it imports."""

from __future__ import annotations

from flows.runners.local_threads import threads_of
from flows.settings.training_config import TrainingConfig
from models.errors import InvalidConfig, InvalidInput
from models.evaluation.judgement import RATINGS
from models.federation.rounds import cohort_size
from models.recommenders.base.family import Family
from models.recommenders.families.registry import families, family_of
from tasks.datasets.partition_reader import Partition
from tasks.local.memory import available_bytes

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
