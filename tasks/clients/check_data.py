"""Checks a client's data against the interactions contract, where the data are."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.interactions import InteractionLimits, check_interactions
from tasks.datasets.partition_reader import open_partition, read_interactions
from tasks.messages.answers import Checked
from tasks.messages.orders import ClientOrder


@task(
    name="check-interactions",
    task_run_name="check-interactions-{order.client_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_client(order: ClientOrder, limits: InteractionLimits) -> Checked:
    """Return the outcome of the interactions contract for one client's data.

    Raises:
        CorruptArtifact: the data are missing or changed.
        ContractViolation: the contract could not be evaluated.
    """
    partition = open_partition(order.job.data_dir)
    client = partition.client(order.client_id)
    outcome = check_interactions(read_interactions(client), partition.catalog, client.id, limits)
    return Checked(outcome, client.users, client.interactions, client.sha256)
