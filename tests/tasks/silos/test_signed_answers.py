"""Sealed answers: only the silo's own, only to this question, whatever happens to their bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from models.errors import ForgedAnswer, InvalidInput, StaleUpdate
from models.federation.envelope import AnswerContext, Envelope
from tasks.silos.keys import SiloKey
from tasks.silos.signed_answers import MAX_ANSWER_BYTES, open_sealed, seal, sign_answer

KEY = SiloKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), Path("none"))
FOREIGN = SiloKey(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))), Path("none"))
ASKED = AnswerContext(silo="ash", kind="train", job_id="job-1", round=3, base_sha256="ab" * 32)
BODY = {"update": {"path": "silos/ash/x", "sha256": "cd" * 32, "size": 5}, "seconds": 0.1, "title": "Amélie"}
NOON = "2026-11-20T12:00:00+00:00"


def sealed(question: AnswerContext = ASKED, key: SiloKey = KEY, signed_at: str = NOON) -> bytes:
    return seal(Envelope(question, BODY, signed_at, key.key_id), key)


SEALED = sealed()


def refused(data: bytes, kind: type[Exception] = ForgedAnswer, **options: int) -> str:
    """Return the part of the answer that was wrong."""
    with pytest.raises(kind) as caught:
        open_sealed(data, ASKED, KEY.public, **options)
    assert type(caught.value) is kind
    return caught.value.part


def test_the_silos_answer_is_opened():
    assert open_sealed(SEALED, ASKED, KEY.public) == BODY
    assert open_sealed(sign_answer(ASKED, BODY, KEY), ASKED, KEY.public) == BODY


def test_the_same_answer_is_the_same_bytes():
    assert sealed() == SEALED


@pytest.mark.parametrize(
    "clock", ["2026-11-20T11:00:00+00:00", "2026-11-20T13:00:00+00:00", "1970-01-01", ""]
)
def test_the_silos_clock_does_not_matter(clock):
    assert open_sealed(sealed(signed_at=clock), ASKED, KEY.public) == BODY


def test_a_large_answer_is_not_parsed():
    # Bytes that are not JSON: if they were parsed, the form would be named as wrong.
    assert refused(b"[" * (MAX_ANSWER_BYTES + 1)) == "size"
    assert refused(SEALED, limit_bytes=len(SEALED) - 1) == "size"
    assert open_sealed(SEALED, ASKED, KEY.public, limit_bytes=len(SEALED)) == BODY


def test_an_unsigned_answer_is_refused():
    facts = json.loads(SEALED)
    del facts["signature"]
    assert refused(json.dumps(facts).encode()) == "signature"
    assert refused(json.dumps(BODY).encode()) == "signature"


def test_an_answer_signed_by_another_silo_is_refused():
    assert refused(sealed(key=FOREIGN)) == "key"


def test_a_foreign_signature_under_the_silos_key_id_is_refused():
    envelope = Envelope(ASKED, BODY, NOON, KEY.key_id)
    assert refused(envelope.signed(FOREIGN.sign(envelope.to_sign()))) == "signature"
    assert refused(envelope.signed(b"")) == "signature"
    assert refused(envelope.signed(KEY.sign(json.dumps(BODY).encode()))) == "signature"


def test_a_signature_covers_every_part():
    facts = json.loads(SEALED)
    other = {"body": {}, "signed_at": "", "silo": "birch", "kind": "check", "job_id": "j", "round": 4}
    for name, value in {**other, "base_sha256": ""}.items():
        changed = json.dumps(
            {**facts, name: value}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        assert refused(changed.encode()) == "signature", name


def test_a_silo_cannot_answer_for_another():
    assert refused(sealed(replace(ASKED, silo="birch"))) == "silo"


@pytest.mark.parametrize(
    ("part", "other"), [("kind", "compare"), ("job_id", "job-0"), ("round", 2), ("base_sha256", "00" * 32)]
)
def test_an_answer_repeated_for_another_question_is_stale(part, other):
    assert refused(sealed(replace(ASKED, **{part: other})), StaleUpdate) == part


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
@example(SEALED.index(b'"signature":"') + 13, 0x20)
@example(0, 1)
def test_any_changed_byte_is_refused(position, flip):
    data = bytearray(SEALED)
    data[position] ^= flip
    with pytest.raises((ForgedAnswer, StaleUpdate)):
        open_sealed(bytes(data), ASKED, KEY.public)


def test_every_flipped_bit_is_refused():
    for position in range(len(SEALED)):
        for bit in range(8):
            data = bytearray(SEALED)
            data[position] ^= 1 << bit
            with pytest.raises((ForgedAnswer, StaleUpdate)):
                open_sealed(bytes(data), ASKED, KEY.public)


def test_every_truncation_is_refused():
    for length in range(len(SEALED)):
        assert refused(SEALED[:length]) == "form"


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(ForgedAnswer):
        open_sealed(data, ASKED, KEY.public)


def test_a_silo_cannot_seal_an_answer_that_would_be_refused():
    with pytest.raises(InvalidInput, match="names key"):
        seal(Envelope(ASKED, BODY, NOON, FOREIGN.key_id), KEY)
    with pytest.raises(InvalidInput, match=str(MAX_ANSWER_BYTES)):
        sign_answer(ASKED, {"x": "a" * MAX_ANSWER_BYTES}, KEY)
    with pytest.raises(InvalidInput, match="cannot be written as JSON"):
        sign_answer(ASKED, {"x": float("nan")}, KEY)
