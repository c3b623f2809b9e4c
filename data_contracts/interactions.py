"""The interactions contract: what a client's training data must look like before it is trained on.

Breach policy: that client is rejected for the round and the reason is recorded; the round goes on without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from data_contracts.outcome import ContractOutcome
from models.federation.catalog import ItemCatalog


@dataclass(frozen=True)
class InteractionLimits:
    """The limits of the interactions contract. None depends on a clock, so a verdict can be repeated.

    Attributes:
        min_rows: the least number of interactions worth training on.
        min_rating, max_rating: range of a rating, both ends included.
        min_timestamp, max_timestamp: range of a timestamp in seconds since 1970 (UTC), both ends included.
    """

    min_rows: int = 1
    min_rating: float = 0.0
    max_rating: float = 10.0
    min_timestamp: int = 0
    max_timestamp: int = 2**53


def check_interactions(
    frame: pd.DataFrame,
    catalog: ItemCatalog,
    client_id: str,
    limits: InteractionLimits = InteractionLimits(),  # noqa: B008 - frozen
) -> ContractOutcome:
    """The outcome of holding one client's interactions against the contract.

    Args:
        frame: user_id and item_id (strings), optional rating (float) and timestamp (int64 seconds).
        catalog: the job's items.
        client_id: whose data it is; the outcome's subject.
        limits: the contract's limits.

    Raises:
        ContractViolation: an expectation could not be evaluated, for example because a column is missing.
    """
    raise NotImplementedError
