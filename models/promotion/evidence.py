"""The evidence for a promotion: a round's record, and a trial of its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from models.kernel.metric import Metric
from models.privacy.guarantee import Guarantee
from models.promotion.exposure import Exposure

Metrics = Mapping[str, Metric]


@dataclass(frozen=True)
class RoundEvaluation:
    """A round's metrics on its validation split.

    Attributes:
        split: name of the split.
        metrics: sums over all clients.
        clients: client id -> its sums. A case is one user with a held-out item.
    """

    split: str
    metrics: Metrics
    clients: Mapping[str, Metrics]


@dataclass(frozen=True)
class RoundEvidence:
    """The facts of one registered round.

    Attributes:
        version: version in the registry.
        job_id, round: the job and round that made the model.
        model_sha256, manifest_sha256: digests of the model's bytes and of the round's record.
        data_digest, catalog_digest: digests of the training data and of the item catalogue.
        contracts: contract -> "passed" or "breached".
        evaluation: None if this round was not evaluated.
        evaluation_seed: seed of the evaluation, which splits ratings and histories without times; None if it
            was not recorded.
        privacy: what its job promised to each user; None if its clients added no noise.
        clients: number of clients whose updates are in the model; 0 if it is not known.
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
    evaluation_seed: int | None = None
    privacy: Guarantee | None = None
    clients: int = 0

    def identity(self) -> dict[str, Any]:
        """Return the facts that a decision records: enough to find and verify the round, and its privacy."""
        return {
            "job_id": self.job_id,
            "round": self.round,
            "sha256": self.model_sha256,
            "manifest_sha256": self.manifest_sha256,
            "data_digest": self.data_digest,
            "catalog_digest": self.catalog_digest,
            **({"privacy": asdict(self.privacy)} if self.privacy else {}),
        }


@dataclass(frozen=True)
class Trial:
    """The result of loading an artefact and scoring with it.

    Attributes:
        error: why loading or scoring failed, or None.
        scores: number of scores.
        finite: number of finite scores.
        distinct: number of distinct scores.
        missing: whether an artefact is missing.
    """

    error: str | None = None
    scores: int = 0
    finite: int = 0
    distinct: int = 0
    missing: bool = False


@dataclass(frozen=True)
class ShownItems:
    """How often a candidate and earlier champions recommend the candidate's items.

    Attributes:
        item_ids, titles: (items,), the candidate's.
        candidate: the candidate's lists; None if there is no earlier version to compare them with.
        earlier: version -> its lists, the newest first. An item that a version lacks is in none of its lists.
        left_out: version -> why it is not compared.
        error: why the candidate's lists could not be made, or None.
    """

    item_ids: Sequence[str] = ()
    titles: Sequence[str] = ()
    candidate: Exposure | None = None
    earlier: Mapping[int, Exposure] = field(default_factory=dict)
    left_out: Mapping[int, str] = field(default_factory=dict)
    error: str | None = None
