"""Answers that prove who gave them: signed by a silo, opened by the coordinator."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import InvalidInput
from models.federation.envelope import Envelope, Question, forged, read_envelope, require_answers
from tasks.silos.keys import SiloKey, key_id, verify

# An answer holds figures and references; arrays travel as objects of their own, bound by their SHA-256.
MAX_ANSWER_BYTES = 1_000_000


def answer(question: Question, body: dict[str, Any], key: SiloKey) -> bytes:
    """The sealed answer to a question, signed now.

    Raises:
        InvalidInput: the body cannot be written as JSON, or is too large.
    """
    signed_at = datetime.now(UTC).isoformat(timespec="seconds")
    return seal(Envelope(question, body, signed_at, key.key_id), key)


def seal(envelope: Envelope, key: SiloKey) -> bytes:
    """The envelope with its signature, as it travels; equal envelopes give equal bytes.

    Raises:
        InvalidInput: it names another key, its body cannot be written as JSON, or it is too large.
    """
    if envelope.public_key_id != key.key_id:
        raise InvalidInput(
            f"The answer names key {envelope.public_key_id}, but is to be signed with {key.key_id}."
        )
    data = envelope.signed(key.sign(envelope.to_sign()))
    if len(data) > MAX_ANSWER_BYTES:
        raise InvalidInput(f"The answer has {len(data)} bytes, at most {MAX_ANSWER_BYTES} are accepted.")
    return data


def open_sealed(
    data: bytes, asked: Question, trusted: Ed25519PublicKey, *, limit_bytes: int = MAX_ANSWER_BYTES
) -> dict[str, Any]:
    """The body of a silo's answer: signed by its key, and an answer to this very question.

    When it was signed plays no part: clocks may be wrong, and round and base model say what is fresh.

    Args:
        data: the sealed answer, from anybody.
        asked: what the silo was asked.
        trusted: the silo's public key.
        limit_bytes: more than that is not even parsed.

    Raises:
        ForgedAnswer: it is too large, of another form, not signed, not signed by the trusted key, or speaks
            for another silo.
        StaleUpdate: it is the silo's answer to another question.
    """
    if len(data) > limit_bytes:
        raise forged(asked.silo, "size", f"has {len(data)} bytes, at most {limit_bytes} are accepted")
    envelope, signature = read_envelope(data, asked.silo)
    if envelope.public_key_id != key_id(trusted):
        fault = f"is signed with key {envelope.public_key_id}, but the trusted one is {key_id(trusted)}"
        raise forged(asked.silo, "key", fault)
    if not verify(trusted, signature, envelope.to_sign()):
        raise forged(asked.silo, "signature", "has a signature that is not by its key")
    require_answers(envelope.question, asked)
    return dict(envelope.body)
