"""The updates contract: what every client's update of a round must look like before it is merged.

Breach policy: that client is rejected for the round and the reason is recorded; the round goes on without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from data_contracts.outcome import ContractOutcome
from models.federation.model import ClientUpdate, GlobalModel


@dataclass(frozen=True)
class UpdateLimits:
    """The limits of the updates contract.

    Attributes:
        max_norm: the largest Frobenius norm of an update's embedding part, and of its bias part.
        min_interactions: the fewest interactions behind an update.
    """

    max_norm: float = 1e4
    min_interactions: int = 1


def profile_update(update: ClientUpdate, base: GlobalModel, base_digest: str) -> dict[str, object]:
    """One row of plain scalars that describes an update; never an error, whatever the update holds.

    Args:
        update: a client's update.
        base: the model of the round it should start from.
        base_digest: SHA-256 of that model's artefact.
    """
    raise NotImplementedError


def check_updates(
    profiles: pd.DataFrame,
    base: GlobalModel,
    base_digest: str,
    limits: UpdateLimits = UpdateLimits(),  # noqa: B008 - frozen
    subject: str | None = None,
) -> ContractOutcome:
    """The outcome of holding all updates of a round against the contract, in one validation.

    Args:
        profiles: one row of `profile_update` per update.
        base: the model of the round they should start from.
        base_digest: SHA-256 of that model's artefact.
        limits: the contract's limits.
        subject: what to call them; by default `round-N` of the model that the round makes.

    Raises:
        ContractViolation: an expectation could not be evaluated.
    """
    raise NotImplementedError


def rejected_clients(outcome: ContractOutcome) -> dict[str, str]:
    """Client id -> reason, in one sentence, for each client in breach of the updates contract.

    Raises:
        ContractViolation: a breach names no client (there was no update at all), so rejecting clients
            cannot mend it. Check the quorum first.
    """
    raise NotImplementedError
