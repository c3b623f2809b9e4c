"""The interactions contract: a client's data are profiled where they are, and all profiles judged at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from data_contracts.interaction_profile import OPTIONAL_COLUMNS, REQUIRED_COLUMNS, profile_interactions
from data_contracts.interactions import InteractionLimits, check_profiles
from tasks.clients.client_rows import opened_partition
from tasks.datasets.partition_reader import read_interaction_table
from tasks.messages.answers import Checked, Profiled
from tasks.messages.orders import ClientOrder


def profile_client(order: ClientOrder, limits: InteractionLimits) -> Profiled:
    """Return the profile of one client's data, which the interactions contract judges.

    Raises:
        CorruptArtifact: the data are missing or changed.
        ContractViolation: the contract could not be evaluated.
    """
    partition = opened_partition(order.job.data_dir, order.job.data_digest)
    client = partition.client(order.client_id)
    columns = _columns(read_interaction_table(client))
    profile = profile_interactions(columns, partition.catalog, client.id, limits.ranges)
    return Profiled(profile, client.users, client.interactions, client.sha256)


def judge(profiled: Mapping[str, Profiled], limits: InteractionLimits) -> dict[str, Checked]:
    """Return the outcome of the interactions contract for each client, from one validation of all profiles.

    Args:
        profiled: client id -> the profile of its data.
        limits: the contract's limits, with which the profiles were made.

    Raises:
        ContractViolation: the contract could not be evaluated.
    """
    outcomes = check_profiles({client_id: each.profile for client_id, each in profiled.items()}, limits)
    return {
        client_id: Checked(outcomes[client_id], each.users, each.interactions, each.digest)
        for client_id, each in profiled.items()
    }


def _columns(table: pa.Table) -> dict[str, np.ndarray]:
    """Return the columns that the contract is about. A missing text is None, and a missing number NaN."""
    return {
        name: table.column(name).to_numpy()
        for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
        if name in table.column_names
    }
