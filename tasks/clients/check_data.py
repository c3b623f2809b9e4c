"""The contracts at the two borders that are not inside a merge: a client's data, and the merged model."""

from __future__ import annotations

from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.embeddings import EmbeddingLimits, check_embeddings
from data_contracts.interactions import InteractionLimits, check_interactions
from data_contracts.outcome import ContractOutcome
from tasks.clients.orders import ClientOrder, JobContext, fetch_model
from tasks.datasets.partition_reader import open_partition, read_interactions
from tasks.exchange.store import ArtifactRef


@dataclass(frozen=True)
class Checked:
    """What a client says of its data, without showing them.

    Attributes:
        outcome: of the interactions contract.
        users, interactions: how many there are.
        digest: SHA-256 of the data.
    """

    outcome: ContractOutcome
    users: int
    interactions: int
    digest: str


@task(
    name="check-interactions",
    task_run_name="check-interactions-{order.client_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_client(order: ClientOrder, limits: InteractionLimits) -> Checked:
    """The outcome of the interactions contract for one client's data, found where the data are.

    Raises:
        CorruptArtifact: the data are missing or changed.
        ContractViolation: the contract could not be evaluated.
    """
    partition = open_partition(order.job.data_dir)
    client = partition.client(order.client_id)
    outcome = check_interactions(read_interactions(client), partition.catalog, client.id, limits)
    return Checked(outcome, client.users, client.interactions, client.sha256)


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
