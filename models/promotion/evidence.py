"""What a promotion is decided on: a round's own record, and a trial of its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.kernel.metric import Metric

Metrics = Mapping[str, Metric]


@dataclass(frozen=True)
class RoundEvaluation:
    """What a round scored on its validation split.

    Attributes:
        split: the split's name.
        metrics: sums over all clients.
        clients: the same per client id; a case is one user with a held-out item.
    """

    split: str
    metrics: Metrics
    clients: Mapping[str, Metrics]


@dataclass(frozen=True)
class RoundEvidence:
    """The facts of one registered round.

    Attributes:
        version: number in the registry.
        job_id, round: where the model comes from.
        model_sha256, manifest_sha256: digests of the model's bytes and of the round's record.
        data_digest, catalog_digest: what it was trained on, and which catalogue numbers its rows.
        contracts: contract -> "passed" or "breached".
        evaluation: None where this round was not evaluated.
    """

    version: int
    job_id: str
    round: int
    model_sha256: str
    manifest_sha256: str
    data_digest: str
    catalog_digest: str
    contracts: Mapping[str, str]
    evaluation: RoundEvaluation | None

    def identity(self) -> dict[str, str | int]:
        """Return what a decision keeps of these facts: enough to find and to prove them again."""
        return {
            "job_id": self.job_id,
            "round": self.round,
            "sha256": self.model_sha256,
            "manifest_sha256": self.manifest_sha256,
            "data_digest": self.data_digest,
            "catalog_digest": self.catalog_digest,
        }


@dataclass(frozen=True)
class Trial:
    """What came of loading an artefact and scoring with it.

    Attributes:
        error: why it could not be loaded or could not score; None where it could.
        scores: number of scores it gave.
        finite: number of them that are finite.
        distinct: number of different values among them.
    """

    error: str | None = None
    scores: int = 0
    finite: int = 0
    distinct: int = 0
