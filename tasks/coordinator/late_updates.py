"""Updates that came after their round had gone on without them: on record, and in no model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import FedrecError
from models.federation.envelope import AnswerContext
from tasks.exchange.layout import silo_answers_folder
from tasks.exchange.store import Exchange
from tasks.messages.answers import Delivery, answer_of_json
from tasks.silos.signed_answers import MAX_ANSWER_BYTES, open_sealed

STAGE = "late"


def late_update(
    exchange: Exchange, public: Ed25519PublicKey, silo: str, manifest: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The record of a silo's late update, as JSON values; None where no genuine answer lies there by now.

    Args:
        exchange: where the answer would lie.
        public: the silo's key.
        silo: which was rejected because it did not answer in time.
        manifest: of the committed round.

    Returns:
        round, client_id, stage ("late"), reason, `seconds_late`: from the commit until it was seen, by the
        coordinator's clock, so at most so late; `sha256` of the update, `answer_sha256` of the answer that
        names it, and `seen_at`.
    """
    job_id, round_ = manifest["job_id"], manifest["round"]
    question = AnswerContext(silo, "train", job_id, round_, manifest["base_sha256"])
    for ref in exchange.listed(silo_answers_folder(silo, job_id, round_, "train")):
        if ref.size > MAX_ANSWER_BYTES:
            continue
        try:
            data = exchange.get(ref)
            answer = answer_of_json("train", silo, open_sealed(data, question, public), 0.0)
        except FedrecError:
            continue
        if isinstance(answer, Delivery):
            return _record(manifest, silo, answer.update.sha256, hashlib.sha256(data).hexdigest())
    return None


def _record(manifest: Mapping[str, Any], silo: str, sha256: str, answer_sha256: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    seconds = (now - datetime.fromisoformat(manifest["committed_at"])).total_seconds()
    return {
        "round": manifest["round"],
        "client_id": silo,
        "stage": STAGE,
        "reason": f"its update {sha256[:12]} came at most {seconds:.1f} s after its round was over",
        "seconds_late": round(seconds, 3),
        "sha256": sha256,
        "answer_sha256": answer_sha256,
        "seen_at": now.isoformat(timespec="milliseconds"),
    }
