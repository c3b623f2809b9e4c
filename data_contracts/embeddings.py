"""The embeddings contract: what the merged model must look like before it is committed.

Breach policy: the round fails, the previous model stays, nothing is registered.
"""

from __future__ import annotations

from dataclasses import dataclass

from data_contracts.outcome import ContractOutcome
from models.federation.model import GlobalModel


@dataclass(frozen=True)
class EmbeddingLimits:
    """The limits of the embeddings contract."""

    max_norm: float = 100.0


def check_embeddings(
    model: GlobalModel,
    previous: GlobalModel,
    limits: EmbeddingLimits = EmbeddingLimits(),  # noqa: B008 - frozen
    subject: str | None = None,
) -> ContractOutcome:
    """The outcome of holding a merged model against the contract.

    Args:
        model: the merged model.
        previous: the model of the round before.
        limits: the contract's limits.
        subject: what to call it; by default `round-N` of the merged model.

    Raises:
        ContractViolation: an expectation could not be evaluated.
    """
    raise NotImplementedError
