"""Headers may be anything: a signature is valid or refused, and nothing ends in an error of the gateway."""

from __future__ import annotations

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tasks.gateway.conftest import Door

_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)
_NAMES = ("signature", "signature-input", "content-digest")
_PIECES = st.sampled_from(
    [
        "fedrec=",
        '("@method")',
        ";created=1",
        ';keyid="x"',
        ":AAAA:",
        ",",
        '"',
        "sig1=()",
        ";tag=",
        "(",
        ")",
        "?1",
        "-",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(_NAMES), value=_TEXT | st.lists(_PIECES, max_size=12).map("".join))
def test_a_changed_header_is_refused(door: Door, name: str, value: str) -> None:
    right = door.signed("GET", "/v1/facts")
    headers = {each: right.headers[each] for each in _NAMES} | {name: value.strip()}
    if headers[name] == right.headers[name]:
        return
    answer = door.send(httpx.Request("GET", right.url, headers=headers))
    assert answer.status_code in (400, 401), (answer.status_code, answer.text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 400), to=st.characters(min_codepoint=32, max_codepoint=126))
def test_no_single_character_of_a_signature_can_be_changed(door: Door, at: int, to: str) -> None:
    right = door.signed("GET", "/v1/facts")
    name = _NAMES[at % 2]
    value = right.headers[name]
    at %= len(value)
    changed = value[:at] + to + value[at + 1 :]
    headers = {each: right.headers[each] for each in _NAMES} | {name: changed.strip()}
    answer = door.send(httpx.Request("GET", right.url, headers=headers))
    # The label is no part of what is signed, and other spellings of base64 may mean the same bytes.
    assert answer.status_code in (200, 400, 401)
    if answer.status_code == 200:
        assert changed == value or value[at] in "fedrec=" or name == "signature"
