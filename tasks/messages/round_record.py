"""The record of a committed round, and what stands beside it once the round was evaluated and tracked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from data_contracts.outcome import ContractName
from models.federation.client_drift import ClientDrift
from models.federation.rounds import Rejection
from models.kernel.metric import Metric
from models.ledger.head import Head
from models.promotion.evidence import RoundEvaluation
from tasks.exchange.store import ArtifactRef
from tasks.messages.record import Record

ContractResult = Literal["passed", "breached"]


@dataclass(frozen=True)
class Privacy:
    """What a round guarantees to each of its users.

    Attributes:
        epsilon: of differential privacy.
    """

    epsilon: float | None


@dataclass(frozen=True, kw_only=True)
class RoundRecord(Record):
    """What a committed round is: its model, what made it, and what was found on the way.

    Attributes:
        job_id, round: which round. Round 0 is the model that a job starts from.
        model_path, model_sha256, model_bytes: where its model lies in the exchange.
        base_sha256: of the model that it started from; None in round 0.
        catalog_digest, data_digest: which catalogue numbers the model's rows, and what it was trained on.
        accepted: ids of the clients in the model, sorted.
        rejected: clients that it went on without, and why.
        contracts: what each contract said.
        training: sums over the accepted clients.
        lease: token of the process that committed it.
        committed_at: when, as ISO 8601 in UTC.
        update_bytes: what came up from the accepted clients; None in round 0.
        drift: how far the embeddings moved, relative to their norm before; None in round 0.
        client_drift: by client, how its update lies to the sum of all; None in round 0.
        egress: by silo, the head of its egress ledger as it signed it with its update; None in round 0.
        privacy: what the round guarantees to each of its users; None where it guarantees nothing.
    """

    was_without_format: ClassVar[bool] = False

    job_id: str
    round: int
    model_path: str
    model_sha256: str
    model_bytes: int
    base_sha256: str | None
    catalog_digest: str
    data_digest: str
    accepted: tuple[str, ...]
    rejected: tuple[Rejection, ...]
    contracts: Mapping[ContractName, ContractResult]
    training: Mapping[str, Metric]
    committed_at: str
    lease: int | None = None
    update_bytes: int | None = None
    drift: float | None = None
    client_drift: Mapping[str, ClientDrift] | None = None
    egress: Mapping[str, Head] | None = None
    privacy: Privacy | None = None

    @property
    def model(self) -> ArtifactRef:
        """Return where the round's model lies."""
        return ArtifactRef(self.model_path, self.model_sha256, self.model_bytes)

    def with_evaluation(self, evaluation: RoundEvaluation | None) -> EvaluatedRound:
        """Return the record as it is tracked.

        Args:
            evaluation: of the round's model; None where no evaluation was due.
        """
        parts = {each.name: getattr(self, each.name) for each in fields(RoundRecord)}
        return EvaluatedRound(**parts, evaluation=evaluation)


@dataclass(frozen=True, kw_only=True)
class EvaluatedRound(RoundRecord):
    """A round's record as MLflow and the registry hold it (`round.json`).

    Attributes:
        evaluation: on the validation cases; None where no evaluation was due.
    """

    evaluation: RoundEvaluation | None

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the record's content, which the registry promises."""
        return record_digest(self.to_json())


@dataclass(frozen=True, kw_only=True)
class TrackedRound(Record):
    """What followed a round's commit.

    Attributes:
        version: in the registry; None before MLflow gave one.
        metrics: single numbers by name, such as "validation/ndcg@10".
        evaluation: on the validation cases; None where no evaluation was due.
        seconds: wall seconds by activity, and their "total".
    """

    version: int | None
    metrics: Mapping[str, float]
    evaluation: RoundEvaluation | None
    seconds: Mapping[str, float]

    @classmethod
    def of_json(cls, value: object, origin: str, next_step: str = "") -> TrackedRound:
        """Return the note that `to_json` wrote, or the empty one that older jobs wrote of round 0."""
        return START_TRACKED if value == {} else super().of_json(value, origin, next_step)


# Round 0 was trained by nobody: its note says that MLflow has the job's opening.
START_TRACKED = TrackedRound(version=None, metrics={}, evaluation=None, seconds={})


def record_digest(value: Mapping[str, object]) -> str:
    """Return the SHA-256 of a record's JSON values, whatever their layout in a file."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
