"""Answers that prove their origin: a silo signs them, and the coordinator verifies them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import InvalidInput
from models.federation.envelope import AnswerContext, Envelope, forged, read_envelope, require_answers
from tasks.silos.keys import SiloKey, key_id, verify

# An answer contains figures and references; arrays are separate objects, referenced by their SHA-256.
MAX_ANSWER_BYTES = 1_000_000


def sign_answer(context: AnswerContext, body: dict[str, Any], key: SiloKey) -> bytes:
    """Return an answer that is signed now.

    Raises:
        InvalidInput: the body cannot be written as JSON, or is too large.
    """
    signed_at = datetime.now(UTC).isoformat(timespec="seconds")
    return seal(Envelope(context, body, signed_at, key.key_id), key)


def seal(envelope: Envelope, key: SiloKey) -> bytes:
    """Return the envelope with its signature as bytes; equal envelopes give equal bytes.

    Raises:
        InvalidInput: the envelope names another key, cannot be written as JSON, or is too large.
    """
    if envelope.public_key_id != key.key_id:
        raise InvalidInput(
            f"The answer names key {envelope.public_key_id}, but the signing key is {key.key_id}."
        )
    data = envelope.signed(key.sign(envelope.to_sign()))
    if len(data) > MAX_ANSWER_BYTES:
        raise InvalidInput(f"The answer has {len(data)} bytes, at most {MAX_ANSWER_BYTES} are accepted.")
    return data


def open_sealed(
    data: bytes, expected: AnswerContext, trusted: Ed25519PublicKey, *, limit_bytes: int = MAX_ANSWER_BYTES
) -> dict[str, Any]:
    """Return the body of a silo's answer after verifying its signature and what it answers.

    The time of signing is ignored, because clocks may be wrong; round and base model show what is current.

    Args:
        data: the signed answer, from an untrusted source.
        expected: the silo, step, job, round and base model that the answer must be for.
        trusted: the silo's public key.
        limit_bytes: larger answers are refused before they are parsed.

    Raises:
        ForgedAnswer: the answer is too large, malformed, not signed by the trusted key, or names another
            silo.
        StaleUpdate: it is the silo's answer to another order.
    """
    if len(data) > limit_bytes:
        raise forged(expected.silo, "size", f"has {len(data)} bytes, at most {limit_bytes} are accepted")
    envelope, signature = read_envelope(data, expected.silo)
    if envelope.public_key_id != key_id(trusted):
        fault = f"is signed with key {envelope.public_key_id}, but the trusted one is {key_id(trusted)}"
        raise forged(expected.silo, "key", fault)
    if not verify(trusted, signature, envelope.to_sign()):
        raise forged(expected.silo, "signature", "has a signature that its key did not make")
    require_answers(envelope.context, expected)
    return dict(envelope.body)
