"""Envelopes: which bytes are signed, that each has one form, and which question it answers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ForgedAnswer, InvalidInput, StaleUpdate
from models.federation.envelope import AnswerContext, Envelope, read_envelope, require_answers

ASKED = AnswerContext(silo="ash", kind="train", job_id="job-1", round=3, base_sha256="ab" * 32)
ENVELOPE = Envelope(ASKED, {"b": 1, "a": "é"}, "2026-11-20T10:00:00+00:00", "0123456789abcdef")
TEXT = (
    '{"base_sha256":"' + "ab" * 32 + '","body":{"a":"é","b":1},"format":"fedrec.answer/1","job_id":"job-1",'
    '"kind":"train","public_key_id":"0123456789abcdef","round":3,"signed_at":"2026-11-20T10:00:00+00:00",'
    '"silo":"ash"}'
)


def changed(**parts: object) -> bytes:
    """Return the signed envelope with other parts, in canonical form. None removes a part."""
    facts = {**json.loads(TEXT), "signature": "00ff", **parts}
    whole = {name: value for name, value in facts.items() if value is not None}
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_all_but_the_signature_is_signed_as_sorted_json():
    assert ENVELOPE.to_sign() == TEXT.encode()


def test_the_signature_travels_in_hexadecimal_digits():
    data = ENVELOPE.signed(b"\x00\xff")
    assert data == changed()
    assert read_envelope(data, "ash") == (ENVELOPE, b"\x00\xff")


def test_bodies_whose_keys_are_numbers_are_written_as_they_are_read():
    envelope = replace(ENVELOPE, body={2: "two", 10: "ten"})
    assert b'"body":{"10":"ten","2":"two"}' in envelope.to_sign()
    assert read_envelope(envelope.signed(b"s"), "ash")[0].body == {"10": "ten", "2": "two"}


def nested(depth: int) -> list[object]:
    """Return a list in a list in a list ..."""
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "body",
    [{"x": float("nan")}, {"x": float("inf")}, {"x": b"bytes"}, {"x": "\ud800"}, {"x": nested(100_000)}],
    ids=["nan", "inf", "bytes", "surrogate", "nested"],
)
def test_values_that_are_not_json_cannot_be_signed(body):
    with pytest.raises(InvalidInput, match="cannot be written as JSON"):
        replace(ENVELOPE, body=body).to_sign()


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "form"),
        (b"\xff\xfe", "form"),
        (b"[" * 100_000, "form"),
        (b"[]", "form"),
        (b"3", "form"),
        (b"{}", "signature"),
        (changed(signature=None), "signature"),
        (changed(signature=7), "form"),
        (changed(signature="0g"), "form"),
        (changed(signature="00FF"), "form"),
        (changed(body=None), "form"),
        (changed(body=[]), "form"),
        (changed(round=True), "form"),
        (changed(round=3.0), "form"),
        (changed(round="3"), "form"),
        (changed(silo=1), "form"),
        (changed(extra=1), "form"),
        (changed(format="fedrec.answer/2"), "format"),
        (changed(body={"x": float("nan")}), "form"),
        (changed().replace(b'"round":3', b'"round": 3'), "form"),
        (changed().replace(b'"round":3', b'"round":3,"round":3'), "form"),
        (changed() + b"\n", "form"),
        (changed().decode().encode("utf-16"), "form"),
        (changed().replace("é".encode(), b"\\u00e9"), "form"),
        (changed().replace("é".encode(), b"\\ud800"), "form"),
    ],
)
def test_anything_but_exactly_a_signed_envelope_is_refused(data, part):
    with pytest.raises(ForgedAnswer, match="The answer of silo 'ash'") as caught:
        read_envelope(data, "ash")
    assert (caught.value.part, caught.value.silo) == (part, "ash")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.binary(max_size=80))
def test_envelopes_round_trip(body, signature):
    envelope = replace(ENVELOPE, body=body)
    assert read_envelope(envelope.signed(signature), "ash") == (envelope, signature)


def test_an_answer_to_the_question_is_accepted():
    require_answers(replace(ASKED), ASKED)


@pytest.mark.parametrize(
    ("part", "other"),
    [("kind", "check"), ("job_id", "job-2"), ("round", 2), ("base_sha256", hashlib.sha256().hexdigest())],
)
def test_an_answer_to_another_question_is_stale(part, other):
    with pytest.raises(StaleUpdate, match=part) as caught:
        require_answers(replace(ASKED, **{part: other}), ASKED)
    assert (caught.value.part, caught.value.silo) == (part, "ash")


def test_an_answer_for_another_silo_is_forged():
    with pytest.raises(ForgedAnswer, match="speaks for silo 'birch'") as caught:
        require_answers(replace(ASKED, silo="birch"), ASKED)
    assert (caught.value.part, caught.value.silo) == ("silo", "ash")
