"""Checks a merged model against the embeddings contract."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.embeddings import EmbeddingLimits, check_embeddings
from data_contracts.outcome import ContractOutcome
from tasks.exchange.models import fetch_model
from tasks.exchange.store import ArtifactRef
from tasks.messages.orders import JobContext


@task(
    name="check-embeddings",
    task_run_name="check-embeddings-round-{round_}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_merged(
    job: JobContext, round_: int, model: ArtifactRef, previous: ArtifactRef, limits: EmbeddingLimits
) -> ContractOutcome:
    """Return the outcome of the embeddings contract for the model that a round made.

    Raises:
        ContractViolation: the contract could not be evaluated.
    """
    return check_embeddings(
        fetch_model(job.exchange_url, model),
        fetch_model(job.exchange_url, previous),
        limits,
        subject=f"round-{round_}",
    )
