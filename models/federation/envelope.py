"""Signed answers from a silo to the coordinator: their parts, and the exact bytes that are signed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from models.errors import ForgedAnswer, InvalidInput, StaleUpdate
from models.ledger.chain import canonical

FORMAT = "fedrec.answer/1"
_TYPES: dict[str, type] = {
    "base_sha256": str,
    "body": dict,
    "format": str,
    "job_id": str,
    "kind": str,
    "public_key_id": str,
    "round": int,
    "signature": str,
    "signed_at": str,
    "silo": str,
}
_NEXT_STEPS = {
    "format": "Run the same version of fedrec on silo and coordinator.",
    "key": "If the silo enrolled again, let the coordinator run fedrec trust NAME FILE --force.",
    "signature": "Ask who can write to the silo's part of the exchange.",
    "silo": "Ask the silo's owner which name it runs under.",
}


@dataclass(frozen=True)
class AnswerContext:
    """The step that an answer belongs to.

    Attributes:
        silo: name of the silo that got the order.
        kind: the step, such as "train".
        job_id, round: the job and its round.
        base_sha256: SHA-256 of the model that the answer starts from.
    """

    silo: str
    kind: str
    job_id: str
    round: int
    base_sha256: str


@dataclass(frozen=True)
class Envelope:
    """An answer with everything that its signature covers.

    Attributes:
        context: the step that it answers.
        body: the answer, as JSON values.
        signed_at: time by the silo's clock, ISO 8601 in UTC. Only for people, because clocks may be wrong.
        public_key_id: id of the key that signs.
    """

    context: AnswerContext
    body: Mapping[str, Any]
    signed_at: str
    public_key_id: str

    def to_sign(self) -> bytes:
        """Return the bytes to sign: canonical JSON, so that equal envelopes have equal bytes.

        Raises:
            InvalidInput: the body cannot be written as JSON.
        """
        return _encoded(self._facts())

    def signed(self, signature: bytes) -> bytes:
        """Return the envelope with its signature, as it travels."""
        return _encoded({**self._facts(), "signature": signature.hex()})

    def _facts(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            **vars(self.context),
            "body": self.body,
            "signed_at": self.signed_at,
            "public_key_id": self.public_key_id,
        }


def read_envelope(data: bytes, silo: str) -> tuple[Envelope, bytes]:
    """Return the envelope and the signature that `Envelope.signed` wrote, without verifying the signature.

    Args:
        data: bytes from any sender.
        silo: name of the expected silo, for errors.

    Raises:
        ForgedAnswer: the bytes are not exactly such an envelope.
    """
    try:
        found = json.loads(data.decode())
    # RecursionError: JSON nested thousands of levels deep.
    except (ValueError, RecursionError) as error:
        raise forged(silo, "form", f"is not JSON: {error}") from error
    if isinstance(found, dict) and "signature" not in found:
        raise forged(silo, "signature", "is not signed")
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != _TYPES:
        raise forged(silo, "form", "has a missing part, an unknown part or one of another type")
    if found["format"] != FORMAT:
        raise forged(silo, "format", f"is in format {found['format']!r}, expected {FORMAT!r}")
    envelope = Envelope(
        context=AnswerContext(**{one.name: found[one.name] for one in fields(AnswerContext)}),
        body=found["body"],
        signed_at=found["signed_at"],
        public_key_id=found["public_key_id"],
    )
    try:
        signature = bytes.fromhex(found["signature"])
        same = envelope.signed(signature) == data
    except (ValueError, InvalidInput) as error:
        raise forged(silo, "form", f"cannot be encoded again: {error}") from error
    # Otherwise one answer would have several encodings, of which only one was signed.
    if not same:
        raise forged(silo, "form", "is not in the canonical form of answers")
    return envelope, signature


def require_answers(given: AnswerContext, expected: AnswerContext) -> None:
    """Raise an error unless a verified answer belongs to the step that was ordered.

    Raises:
        ForgedAnswer: it names another silo than the one whose key signed it.
        StaleUpdate: it belongs to another step, job, round or base model, because it is late or was sent
            again.
    """
    if given.silo != expected.silo:
        raise forged(expected.silo, "silo", f"is signed with its key, but speaks for silo {given.silo!r}")
    for part in ("kind", "job_id", "round", "base_sha256"):
        got, wanted = getattr(given, part), getattr(expected, part)
        if got != wanted:
            raise StaleUpdate(
                f"The answer of silo {expected.silo!r} is to {part} {got!r}, expected {wanted!r} "
                f"(job {expected.job_id}, round {expected.round}). It is late or was sent again.",
                part=part,
                silo=expected.silo,
            )


def forged(silo: str, part: str, fault: str) -> ForgedAnswer:
    """Return the error that explains why an answer is not accepted as the silo's.

    Args:
        silo: name of the expected silo.
        part: the faulty part: "size", "form", "format", "signature", "key" or "silo".
        fault: a predicate that follows "The answer of silo ...".
    """
    return ForgedAnswer(
        f"The answer of silo {silo!r} {fault}.", next_step=_NEXT_STEPS.get(part, ""), part=part, silo=silo
    )


def _encoded(facts: Mapping[str, Any]) -> bytes:
    try:
        text = canonical(facts)
        # Keys that are not strings become strings, and may then sort differently.
        return canonical(json.loads(text)).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(f"An answer cannot be written as JSON: {error}.") from error
