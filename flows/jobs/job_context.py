"""The part of a job's orders that every client gets."""

from __future__ import annotations

from dataclasses import replace

from flows.settings.training_config import TrainingConfig
from models.federation.rounds import cohort_size
from models.privacy.guarantee import Guarantee
from tasks.coordinator.lineage import records_of, split_of
from tasks.datasets.partition_reader import Partition
from tasks.local.home import Home
from tasks.messages.earlier_training import EarlierTraining
from tasks.messages.orders import JobContext


def job_context(
    home: Home,
    config: TrainingConfig,
    partition: Partition,
    job_id: str,
    earlier: EarlierTraining | None,
    privacy: Guarantee | None = None,
) -> JobContext:
    """Return the part of the orders of this job that is the same for all clients.

    Args:
        home: the coordinator's home.
        config: the job's configuration.
        partition: the clients' data.
        job_id: the job.
        earlier: the training of the champion that the job starts from; None for a fresh model.
        privacy: what the job promises to each user; None if clients add no noise.
    """
    split = split_of(config.model_dump(mode="json"), partition.digest)
    earlier_jobs = earlier.other_jobs(split) if earlier else ()
    return JobContext(
        job_id=job_id,
        seed=config.seed,
        spec=config.train,
        exchange_url=config.runner.exchange or home.exchange.as_uri(),
        data_dir=str(partition.root),
        data_digest=partition.digest,
        silos_dir=str(home.silos),
        evaluation_seed=config.evaluation.seed,
        negatives=config.evaluation.negatives,
        cohort=cohort_size(len(partition.clients), config.federation.cohort_share),
        postprocessors=config.postprocessors,
        earlier_jobs=earlier_jobs,
        earlier_records=records_of(home, earlier_jobs),
        users_share=config.evaluation.users_share,
        ranges=config.fixed_point,
        secure_sum=config.privacy.secure_sum,
        max_weight=config.privacy.max_weight,
        # Clients that add noise tell no numbers of interactions.
        update_limits=replace(config.contracts.updates, min_interactions=0)
        if privacy
        else config.contracts.updates,
        noise=privacy.plan if privacy else None,
        delta=privacy.delta if privacy else None,
    )
