"""The contracts at the two borders that are not inside a merge: a client's data, and the merged model."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.embeddings import EmbeddingLimits, check_embeddings
from data_contracts.interactions import InteractionLimits, check_interactions
from data_contracts.outcome import ContractOutcome
from tasks.dataset import open_partition, read_interactions
from tasks.exchange import ArtifactRef
from tasks.orders import JobContext, fetch_model


@task(
    name="check-interactions",
    task_run_name="check-interactions-{client_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_client(job: JobContext, client_id: str, limits: InteractionLimits) -> ContractOutcome:
    """The outcome of the interactions contract for one client's data, found where the data are.

    Raises:
        CorruptArtifact: the data are missing or changed.
        ContractViolation: the contract could not be evaluated.
    """
    partition = open_partition(job.data_dir)
    frame = read_interactions(partition.client(client_id))
    return check_interactions(frame, partition.catalog, client_id, limits)


@task(
    name="check-embeddings",
    task_run_name="check-embeddings-round-{round_}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_merged(
    job: JobContext, round_: int, model: ArtifactRef, previous: ArtifactRef, limits: EmbeddingLimits
) -> ContractOutcome:
    """The outcome of the embeddings contract for the model that a round made.

    Raises:
        ContractViolation: the contract could not be evaluated.
    """
    return check_embeddings(
        fetch_model(job.exchange_url, model),
        fetch_model(job.exchange_url, previous),
        limits,
        subject=f"round-{round_}",
    )
