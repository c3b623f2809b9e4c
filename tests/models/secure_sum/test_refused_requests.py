"""A member refuses a request that is damaged, from elsewhere, or differs from one that it answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidInput, ProtocolBreach
from models.secure_sum import member as moments
from models.secure_sum.primitives.canonical import canonical
from models.secure_sum.primitives.statements import statement_of
from models.secure_sum.session import Session
from models.secure_sum.vectors import Layout
from tests.models.secure_sum.sums import SMALL, World, changed, cohort_of, new_member, new_members, world

COUNT = 5
Edit = Callable[[Any, Any], None]


def edited(request: bytes, edit: Edit) -> bytes:
    """Return a request whose two lines were changed as JSON values: what is for all, and the member's own."""
    shared, own = (json.loads(line) for line in request.split(b"\n"))
    edit(shared, own)
    return canonical(shared) + b"\n" + canonical(own)


def request_of(kind: str, one: World) -> tuple[str, bytes, Callable[[str, bytes], bytes]]:
    """Bring a sum to a kind of request; return a member, the request and what answers it."""
    name = one.names[0]
    one.prepare(one.names)
    if kind == "mask":
        return name, one.sum.mask_request(name), one.masked
    one.mask(one.names[:-1])
    if kind == "agree":
        return name, one.sum.agree_request(name), one.agreed
    one.agree(one.names[:-1])
    return name, one.sum.reveal_request(name), one.revealed


@pytest.fixture(params=["mask", "agree", "reveal"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_request_with_any_bit_flipped_is_refused_or_changes_no_share(kind: str) -> None:
    one = world(COUNT)
    name, request, answer = request_of(kind, one)
    before = dict(one.records)
    # Flipped bits of sealed shares are noticed at unsealing, and only these shares are then missing.
    sealed = request.find(b'"sealed"')
    for place in range(0, 8 * (len(request) if sealed < 0 else sealed), 23):
        with pytest.raises(
            ProtocolBreach, match=rf"The message '{kind}' of the coordinator |of member 'silo-"
        ):
            answer(name, changed(request, place))
    assert one.records == before
    answer(name, request)


def test_a_request_that_is_cut_or_too_long_is_refused(kind: str) -> None:
    one = world(COUNT)
    name, request, answer = request_of(kind, one)
    for other in (
        *(request[:size] for size in range(0, len(request), 29)),
        b"[" * 10**5,
        request + b" " * 10**6,
    ):
        with pytest.raises(ProtocolBreach, match=rf"The message '{kind}' of the coordinator "):
            answer(name, other)


def test_a_request_of_another_kind_or_session_is_refused(kind: str) -> None:
    members = new_members(COUNT)
    old, new = (World(members, Session(cohort_of(members), session)) for session in ("round 1", "round 2"))
    _, foreign, _ = request_of(kind, old)
    name, request, answer = request_of(kind, new)
    with pytest.raises(ProtocolBreach, match="is for session") as caught:
        answer(name, foreign)
    assert caught.value.part == "session"
    with pytest.raises(ProtocolBreach, match=f"is for kind 'else', expected '{kind}'"):
        answer(name, edited(request, lambda shared, own: shared.update(kind="else")))


def test_a_record_of_another_session_or_cohort_answers_nothing(kind: str) -> None:
    one, other = world(COUNT), world(COUNT)
    name, request, answer = request_of(kind, one)
    request_of(kind, other)
    one.records = other.records
    with pytest.raises(ProtocolBreach, match="of another cohort or id"):
        answer(name, request)


@pytest.mark.parametrize(
    "edit",
    [
        lambda shared, own: own.update(more={}),
        lambda shared, own: own.clear(),
        lambda shared, own: own.update({next(iter(own)): []}),
        lambda shared, own: own.update({next(iter(own)): {"silo-001": 1}}),
        lambda shared, own: shared.update(more=1),
        lambda shared, own: shared.update(kind=[]),
        lambda shared, own: shared.update(session={}),
    ],
)
def test_a_request_has_its_parts_and_no_others(kind: str, edit: Edit) -> None:
    name, request, answer = request_of(kind, world(COUNT))
    with pytest.raises(ProtocolBreach, match="has other parts than a request"):
        answer(name, edited(request, edit))


@pytest.mark.parametrize("part", ["prepared", "sealed", "masked"])
@pytest.mark.parametrize(
    "edit", [lambda part: part.popitem(), lambda part: part.update(nobody=""), lambda part: part.clear()]
)
def test_a_request_has_one_part_from_each_neighbour(
    part: str, edit: Callable[[dict[str, str]], None]
) -> None:
    name, request, answer = request_of("mask" if part == "prepared" else "agree", world(COUNT))
    with pytest.raises(ProtocolBreach, match="has not one part from each neighbour"):
        answer(name, edited(request, lambda shared, own: edit(own[part])))


@pytest.mark.parametrize("text", ["", "zz" * 60, "00" * 59, "00" * 61, "0"])
def test_sealed_shares_have_one_length(text: str) -> None:
    name, request, answer = request_of("agree", world(COUNT))
    with pytest.raises(ProtocolBreach, match="has sealed shares"):
        answer(name, edited(request, lambda shared, own: own["sealed"].update({"silo-001": text})))


@pytest.mark.parametrize(
    "names",
    [
        None,
        {},
        [1, 2, 3, 4],
        ["silo-000", "silo-001", "silo-002", "nobody"],
        ["silo-001", "silo-000", "silo-002", "silo-003"],
        ["silo-000", "silo-000", "silo-001", "silo-002", "silo-003"],
        [["silo-000"]],
    ],
)
@pytest.mark.parametrize("kind", ["mask", "agree"])
def test_names_are_members_each_once_and_sorted(kind: str, names: object) -> None:
    name, request, answer = request_of(kind, world(COUNT))
    with pytest.raises(ProtocolBreach, match="does not list members of the session, each once and sorted"):
        answer(name, edited(request, lambda shared, own: shared.update(content=names)))


@pytest.mark.parametrize("names", [[1, 2, 3], [0, 1, 2], [1, 2, 3, 4], []])
def test_too_few_or_without_the_member_is_refused(names: list[int]) -> None:
    one = world(COUNT)
    name, request, answer = request_of("mask", one)
    chosen = [one.names[place] for place in names]

    def edit(shared: Any, own: Any) -> None:
        shared["content"] = chosen
        own["prepared"] = {other: own["prepared"][other] for other in chosen if other != name}

    with pytest.raises(ProtocolBreach, match=f"lists {len(names)} members, which are too few here"):
        answer(name, edited(request, edit))


def test_a_mask_key_of_another_member_or_key_is_refused() -> None:
    one = world(COUNT)
    name, request, answer = request_of("mask", one)
    swapped = edited(
        request, lambda shared, own: own["prepared"].update({"silo-001": own["prepared"]["silo-002"]})
    )
    with pytest.raises(
        ProtocolBreach, match="'prepared' of member 'silo-001' is not signed with the member's key"
    ):
        answer(name, swapped)
    impostor = World({**one.members, "silo-001": new_member("silo-001")}, one.session)
    # The coordinator knows the private key of this one, and with it the mask.
    own_key = statement_of(impostor.prepared("silo-001")).decode()
    with pytest.raises(
        ProtocolBreach, match="'prepared' of member 'silo-001' is not signed with the member's key"
    ):
        answer(name, edited(request, lambda shared, own: own["prepared"].update({"silo-001": own_key})))
    broken = edited(request, lambda shared, own: own["prepared"].update({"silo-001": "\ud800"}))
    with pytest.raises(ProtocolBreach, match="'prepared' of member 'silo-001' is no statement"):
        answer(name, broken)
    long = edited(request, lambda shared, own: own["prepared"].update({"silo-001": " " * 9000}))
    with pytest.raises(ProtocolBreach, match="has a statement of more than 8192 bytes"):
        answer(name, long)


def test_a_repeated_request_has_the_same_masked_vector_and_another_one_is_refused() -> None:
    one = world(COUNT)
    name, request, answer = request_of("mask", one)
    first = answer(name, request)
    assert answer(name, request) == first
    same = one.vectors
    one.vectors = {**same, name: [block ^ np.array(1, block.dtype) for block in same[name]]}
    with pytest.raises(ProtocolBreach, match="asks to mask again, another vector or with other members"):
        answer(name, request)
    one.vectors = same

    def without_last(shared: Any, own: Any) -> None:
        own["prepared"].pop(shared["content"].pop())

    with pytest.raises(ProtocolBreach, match="asks to mask again, another vector or with other members"):
        answer(name, edited(request, without_last))
    assert answer(name, request) == first


def test_a_member_votes_for_one_set_of_survivors_and_repeats_its_vote() -> None:
    one = world(COUNT)
    one.prepare(one.names)
    one.mask(one.names)
    name = one.names[0]
    request = one.sum.agree_request(name)
    vote = statement_of(one.agreed(name, request))

    def without_last(shared: Any, own: Any) -> None:
        own["masked"].pop(shared["content"].pop())

    with pytest.raises(ProtocolBreach, match="lists other survivors than the member voted for before"):
        one.agreed(name, edited(request, without_last))
    again = statement_of(one.agreed(name, request))
    # The opening is sealed again with another nonce, so only what is agreed on is the same.
    texts = [json.loads(each)["body"]["agreement"] for each in (vote, again)]
    assert texts[0] == texts[1]


def test_a_survivor_that_did_not_prepare_is_refused() -> None:
    one = world(COUNT)
    one.prepare(one.names[:-1])
    one.mask(one.names[:-1])
    request = one.sum.agree_request(one.names[0])

    def with_last(shared: Any, own: Any) -> None:
        shared["content"].append(one.names[-1])
        own["masked"][one.names[-1]] = "x"

    with pytest.raises(ProtocolBreach, match="lists 5 survivors: too few, not all of them prepared"):
        one.agreed(one.names[0], edited(request, with_last))


def test_requests_out_of_order_are_refused() -> None:
    one = world(COUNT)
    one.prepare(one.names)
    name = one.names[0]
    with pytest.raises(ProtocolBreach, match="comes before the member's masked vector was requested"):
        one.agreed(name, b"")
    one.masked(name, one.sum.mask_request(name))
    with pytest.raises(ProtocolBreach, match="comes before the member's vote was requested"):
        one.revealed(name, b"")


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (lambda votes: votes.popitem(), "has 3 votes, which are too few or not by survivors"),
        (lambda votes: votes.update(nobody="x"), "has 5 votes, which are too few or not by survivors"),
        (lambda votes: votes.update({"silo-004": "x"}), "has 5 votes, which are too few or not by survivors"),
        (lambda votes: votes.update({"silo-001": votes["silo-002"]}), "is not signed with the member's key"),
        (lambda votes: votes.update({"silo-001": 1}), "has votes in another form"),
    ],
)
def test_a_member_reveals_for_a_quorum_of_votes_only(edit: Callable[[Any], None], fault: str) -> None:
    name, request, answer = request_of("reveal", world(COUNT))
    with pytest.raises(ProtocolBreach, match=fault):
        answer(name, edited(request, lambda shared, own: edit(shared["content"])))


def test_shares_of_another_session_or_for_another_member_are_missing_in_the_opening() -> None:
    members = new_members(COUNT)
    old, new = (World(members, Session(cohort_of(members), session)) for session in ("round 1", "round 2"))
    _, former, _ = request_of("reveal", old)
    name, request, answer = request_of("reveal", new)
    foreign = json.loads(former.split(b"\n")[1])["sealed"]
    swapped = json.loads(new.sum.reveal_request("silo-002").split(b"\n")[1])["sealed"]
    # What the member itself sealed for silo-002, shown to it as if silo-002 had sealed it.
    reflected = swapped[name]
    whole = answer(name, request)

    def edit(shared: Any, own: Any) -> None:
        lies = {"silo-001": foreign["silo-001"], "silo-002": reflected, "silo-003": swapped["silo-003"]}
        own["sealed"].update(lies)

    lacking = answer(name, edited(request, edit))
    entries = [message.partition(b"\n")[2][16:] for message in (whole, lacking)]
    parts = [[each[at : at + 17] for at in range(0, len(each), 17)] for each in entries]
    assert [part[0] for part in parts[0]] == [1, 1, 1, 1]
    assert parts[1] == [bytes(17), bytes(17), bytes(17), parts[0][3]]


@pytest.mark.parametrize(
    "blocks", [[np.zeros(3, np.uint32)], [np.zeros(3, np.uint32), np.zeros(2, np.uint32)]]
)
def test_a_vector_has_the_blocks_of_its_layout(blocks: list[Any]) -> None:
    one = world(COUNT)
    name, request, _ = request_of("mask", one)
    with pytest.raises(InvalidInput, match="A vector has blocks"):
        moments.mask(one.members[name], one.session, one.records[name], request, SMALL, blocks)


@pytest.mark.parametrize(
    ("counts", "widths"), [((), ()), ((0,), (1,)), ((1, -1, 3), (1, 1, 1)), ((1,), (1, 2))]
)
def test_a_layout_has_a_width_for_each_block_and_a_value(
    counts: tuple[int, ...], widths: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidInput, match="A vector has blocks of"):
        Layout(counts, widths)
