"""The record of a committed round, and the records of its evaluation and tracking."""

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
from models.privacy.guarantee import Guarantee
from models.promotion.evidence import RoundEvaluation
from tasks.exchange.store import ArtifactRef
from tasks.messages.earlier_training import EarlierTraining
from tasks.messages.record import Record

ContractResult = Literal["passed", "breached"]


@dataclass(frozen=True, kw_only=True)
class RoundRecord(Record):
    """A committed round: its model, the inputs of that model, and the facts found on the way.

    Attributes:
        job_id, round: the job and the round. Round 0 is the model that a job starts from.
        model_path, model_sha256, model_bytes: path, digest and size of the model in the exchange.
        base_sha256: SHA-256 of the model that the round started from; None in round 0.
        catalog_digest, data_digest: digests of the model's item catalogue and of the training data.
        accepted: ids of the clients whose updates are in the model, sorted.
        rejected: clients whose updates are not in the model, and why.
        contracts: the outcome of each contract.
        training: sums over the accepted clients.
        lease: lease token of the process that committed the round.
        committed_at: time of the commit, as ISO 8601 in UTC.
        update_bytes: total size of the accepted updates, with all messages of a secure sum; None in round 0.
        download_bytes: total size of what the clients that answered were sent; None in round 0, and in
            records of older versions.
        drift: norm of the change of the embeddings, relative to their norm before; None in round 0.
        client_drift: client id -> its update compared with the sum of all; None in round 0.
        egress: silo -> the head of its egress ledger, which it signed with its update; None in round 0.
        privacy: what the job promises to each of its users; None if clients add no noise, and in round 0.
        earlier: the training of the champion that the job started from; None for a fresh model, and in
            records of older versions.
        evaluation_seed: seed of the job's evaluation, which splits ratings and histories without times; None
            in records of older versions.
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
    download_bytes: int | None = None
    drift: float | None = None
    client_drift: Mapping[str, ClientDrift] | None = None
    egress: Mapping[str, Head] | None = None
    privacy: Guarantee | None = None
    earlier: EarlierTraining | None = None
    evaluation_seed: int | None = None

    @property
    def model(self) -> ArtifactRef:
        """Return the reference of the round's model."""
        return ArtifactRef(self.model_path, self.model_sha256, self.model_bytes)

    def with_evaluation(self, evaluation: RoundEvaluation | None) -> EvaluatedRound:
        """Return the record with its evaluation, as MLflow stores it.

        Args:
            evaluation: evaluation of the round's model; None if none was due.
        """
        parts = {each.name: getattr(self, each.name) for each in fields(RoundRecord)}
        return EvaluatedRound(**parts, evaluation=evaluation)


@dataclass(frozen=True, kw_only=True)
class EvaluatedRound(RoundRecord):
    """A round's record in MLflow and the registry (`round.json`).

    Attributes:
        evaluation: evaluation on the validation cases; None if none was due.
    """

    evaluation: RoundEvaluation | None

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the record's content, which is also a tag in the registry."""
        return record_digest(self.to_json())


@dataclass(frozen=True, kw_only=True)
class TrackedRound(Record):
    """The tracking and evaluation of a committed round.

    Attributes:
        version: version number in the registry; None until MLflow has assigned one.
        metrics: single numbers by name, such as "validation/ndcg@10".
        evaluation: evaluation on the validation cases; None if none was due.
        seconds: wall seconds by activity, and their "total".
    """

    version: int | None
    metrics: Mapping[str, float]
    evaluation: RoundEvaluation | None
    seconds: Mapping[str, float]

    @classmethod
    def of_json(cls, value: object, origin: str, next_step: str = "") -> TrackedRound:
        """Return the note that `to_json` wrote, or the empty note that older jobs wrote about round 0."""
        return START_TRACKED if value == {} else super().of_json(value, origin, next_step)


# No client trained round 0. Its note says that MLflow has the job's opening.
START_TRACKED = TrackedRound(version=None, metrics={}, evaluation=None, seconds={})


def record_digest(value: Mapping[str, object]) -> str:
    """Return the SHA-256 of a record's JSON values, independent of their layout in a file."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
