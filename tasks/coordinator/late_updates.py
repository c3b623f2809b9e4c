"""Updates that came after their round had gone on without them: on record, and in no model."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import FedrecError
from models.federation.envelope import AnswerContext
from tasks.exchange.layout import silo_answers_folder
from tasks.exchange.store import Exchange
from tasks.messages.answers import Delivery, answer_of_json
from tasks.messages.late_update import LateUpdate
from tasks.messages.round_record import RoundRecord
from tasks.silos.signed_answers import MAX_ANSWER_BYTES, open_sealed


def late_update(
    exchange: Exchange, public: Ed25519PublicKey, silo: str, record: RoundRecord
) -> LateUpdate | None:
    """Return the record of a silo's late update; None where no genuine answer lies there by now.

    Args:
        exchange: where the answer would lie.
        public: the silo's key.
        silo: which was rejected because it did not answer in time.
        record: of the committed round.
    """
    if record.base_sha256 is None:
        return None  # round 0, for which no silo trains
    context = AnswerContext(silo, "train", record.job_id, record.round, record.base_sha256)
    for ref in exchange.listed(silo_answers_folder(silo, record.job_id, record.round, "train")):
        if ref.size > MAX_ANSWER_BYTES:
            continue
        try:
            data = exchange.get(ref)
            answer = answer_of_json("train", silo, open_sealed(data, context, public), 0.0)
        except FedrecError:
            continue
        if isinstance(answer, Delivery):
            return _late(record, silo, answer.update.sha256, hashlib.sha256(data).hexdigest())
    return None


def _late(record: RoundRecord, silo: str, sha256: str, answer_sha256: str) -> LateUpdate:
    now = datetime.now(UTC)
    seconds = (now - datetime.fromisoformat(record.committed_at)).total_seconds()
    return LateUpdate(
        round=record.round,
        client_id=silo,
        reason=f"its update {sha256[:12]} came at most {seconds:.1f} s after its round was over",
        seconds_late=round(seconds, 3),
        sha256=sha256,
        answer_sha256=answer_sha256,
        seen_at=now.isoformat(timespec="milliseconds"),
    )
