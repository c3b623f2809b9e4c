"""The coordinator refuses a message that is damaged, late, repeated or from elsewhere, and says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.errors import ProtocolBreach
from models.secure_sum.messages import view, write_masked, write_revealed
from models.secure_sum.openings import Opening
from models.secure_sum.primitives.statements import sign
from models.secure_sum.session import Session
from models.secure_sum.vectors import Layout
from tests.models.secure_sum.sums import SMALL, World, changed, cohort_of, new_member, new_members, world

KINDS = ("prepared", "masked", "agreed", "revealed")
COUNT = 4


def due(kind: str, one: World) -> tuple[str, bytes, Callable[[str, bytes], None]]:
    """Bring a sum to a kind of message; return the last member, its message and what takes it."""
    *others, last = one.names
    one.prepare(others)
    message, take = one.prepared(last), one.sum.add_prepared
    if kind != "prepared":
        take(last, message)
        one.mask(others)
        message, take = one.masked(last, one.sum.mask_request(last)), one.sum.add_masked
    if kind in {"agreed", "revealed"}:
        take(last, message)
        # One vote is missing, so that there is something to reveal.
        one.agree(others[1:])
        message, take = one.agreed(last, one.sum.agree_request(last)), one.sum.add_agreed
    if kind == "revealed":
        take(last, message)
        one.reveal(others[1:])
        message, take = one.revealed(last, one.sum.reveal_request(last)), one.sum.add_revealed
    return last, message, take


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_message_with_any_bit_flipped_is_refused(kind: str) -> None:
    name, message, take = due(kind, world(COUNT))
    for place in range(0, 8 * len(message), 11):
        with pytest.raises(ProtocolBreach, match=rf"The message '{kind}' of member '{name}' ") as caught:
            take(name, changed(message, place))
        assert caught.value.part in {"form", "signature", "size", "attachment"}
    take(name, message)


def test_a_message_that_is_cut_or_longer_is_refused(kind: str) -> None:
    name, message, take = due(kind, world(COUNT))
    for other in (*(message[:size] for size in range(0, len(message), 7)), message + b"\0", bytes(10**6)):
        with pytest.raises(ProtocolBreach, match=rf"'{kind}' of member '{name}' "):
            take(name, other)
    take(name, message)


def test_a_message_of_another_session_is_refused(kind: str) -> None:
    members = new_members(COUNT)
    old, new = (World(members, Session(cohort_of(members), session)) for session in ("round 1", "round 2"))
    _, replayed, _ = due(kind, old)
    name, message, take = due(kind, new)
    with pytest.raises(ProtocolBreach, match="is for session 'round 1', expected 'round 2'") as caught:
        take(name, replayed)
    assert (caught.value.part, caught.value.kind) == ("session", kind)
    take(name, message)


def test_a_message_of_another_cohort_is_refused(kind: str) -> None:
    members = new_members(COUNT)
    jobs = (World(members, Session(cohort_of(members, job), "round 1")) for job in ("one", "two"))
    (_, foreign, _), (name, message, take) = (due(kind, each) for each in jobs)
    with pytest.raises(ProtocolBreach, match="is for cohort '") as caught:
        take(name, foreign)
    assert caught.value.part == "cohort"
    take(name, message)


def test_a_message_of_another_member_is_refused(kind: str) -> None:
    one = world(COUNT)
    name, message, take = due(kind, one)
    # An identity key that two members share would let one speak for the other, were it not for the name.
    twin = new_member(name)
    impostor = {"kind": kind, "member": "silo-001", "session": one.session.id}
    with pytest.raises(ProtocolBreach, match="is not signed with the member's key"):
        take(name, sign(twin.identity, impostor))
    with pytest.raises(ProtocolBreach, match="is for member 'silo-001', expected 'silo-003'"):
        take(name, sign(one.members[name].identity, impostor))
    with pytest.raises(ProtocolBreach, match="was not requested from it"):
        take("nobody", message)
    take(name, message)


def test_a_message_of_another_kind_is_refused() -> None:
    one = world(COUNT)
    _, message, _ = due("prepared", one)
    one.sum.add_prepared(one.names[-1], message)
    one.sum.mask_request(one.names[0])
    with pytest.raises(ProtocolBreach, match="is for kind 'prepared', expected 'masked'"):
        one.sum.add_masked(one.names[-1], message)


def test_a_second_message_of_a_member_is_refused(kind: str) -> None:
    name, message, take = due(kind, world(5))
    take(name, message)
    with pytest.raises(ProtocolBreach, match="is the second of this member"):
        take(name, message)


def test_a_late_message_is_refused() -> None:
    one = world(COUNT)
    name, message, take = due("prepared", one)
    one.sum.mask_request(one.names[0])
    with pytest.raises(ProtocolBreach, match="is late: requests to mask were sent before"):
        take(name, message)
    one.mask(one.names[:-1])
    one.agree(one.names[:-2])
    with pytest.raises(ProtocolBreach, match="was not requested"):
        one.sum.add_masked(name, message)


def test_an_opening_that_was_not_requested_is_refused() -> None:
    one = world(COUNT)
    due("agreed", one)
    with pytest.raises(ProtocolBreach, match="'revealed' of member 'silo-001' was not requested from it"):
        one.sum.add_revealed("silo-001", b"")


def test_an_unknown_part_of_a_statement_is_refused() -> None:
    one = world(COUNT)
    name = one.names[0]
    facts = {
        "kind": "prepared",
        "member": name,
        "session": one.session.id,
        "cohort": one.session.cohort.digest,
    }
    size = 60 * (COUNT - 1)
    for rest in ({}, {"mask_key": "", "commitment": "", "more": ""}, {"mask_key": "", "more": ""}):
        with pytest.raises(ProtocolBreach, match="has a missing or an unknown part"):
            one.sum.add_prepared(name, sign(one.members[name].identity, {**facts, **rest}, bytes(size)))


@pytest.mark.parametrize("key", ["", "zz", "00" * 31, "00" * 32, "01" + "00" * 31, "AA" * 32])
def test_a_key_with_which_no_secret_can_be_agreed_is_refused(key: str) -> None:
    one = world(COUNT)
    name = one.names[0]
    facts = {
        "kind": "prepared",
        "member": name,
        "session": one.session.id,
        "cohort": one.session.cohort.digest,
    }
    message = sign(
        one.members[name].identity, {**facts, "mask_key": key, "commitment": ""}, bytes(60 * (COUNT - 1))
    )
    with pytest.raises(ProtocolBreach, match="has a key with which no secret can be agreed"):
        one.sum.add_prepared(name, message)


def test_a_vector_of_another_layout_or_form_is_refused() -> None:
    one = world(COUNT, layout=Layout((3,), (5,)))
    name, _, take = due("masked", one)
    other = view(tuple(one.names), SMALL)
    with pytest.raises(ProtocolBreach, match="is for view"):
        take(name, write_masked(one.members[name], one.session, other, bytes(2)))
    seen = view(tuple(one.names), one.layout)
    with pytest.raises(ProtocolBreach, match="has another form: The last byte of 3 packed values"):
        take(name, write_masked(one.members[name], one.session, seen, b"\0\xff"))


def test_an_opening_in_another_form_is_refused() -> None:
    one = world(COUNT)
    name, _, take = due("revealed", one)
    agreement = one.sum.agreement

    class Strange(Opening):
        def to_bytes(self, owners: object) -> bytes:
            return bytes(16) + b"\2" + bytes(16) + bytes(34)

    with pytest.raises(ProtocolBreach, match="has an opening in another form"):
        take(name, write_revealed(one.members[name], agreement, Strange(b"", {})))


def test_a_statement_has_one_text_only() -> None:
    one = world(COUNT)
    name, message, take = due("prepared", one)
    head, _, tail = message.partition(b"\n")
    signature = head[-130:-2]
    for other in (
        b" " + head,
        head.replace(b":", b": ", 1),
        head.replace(signature, signature.upper()),
        b"[]",
        b'{"body":[],"signature":""}',
        b'{"body":{},"signature":1}',
        b'{"body":{"kind":1},"signature":""}',
        # As deeply nested as Python can read, but not write.
        b'{"body":{"kind":' + b"[" * 950 + b"]" * 950 + b'},"signature":""}',
        b"[" * 5000,
    ):
        with pytest.raises(ProtocolBreach, match="is no statement"):
            take(name, other + b"\n" + tail)
