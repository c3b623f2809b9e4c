"""A secure sum is the plain sum of the survivors, whoever fails and when, down to the threshold."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import QuorumNotReached
from models.secure_sum.graph import COMPLETE
from models.secure_sum.vectors import Layout
from tests.models.secure_sum.sums import SMALL, World, world

FEW = settings(max_examples=15)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    blocks = draw(st.lists(st.tuples(st.integers(0, 70), st.integers(1, 64)), min_size=1, max_size=4))
    return Layout((1, *(count for count, _ in blocks)), (33, *(width for _, width in blocks)))


@FEW
@given(count=st.integers(3, 40), layout=layouts(), order=st.randoms(use_true_random=False))
def test_the_sum_of_all_is_exact_in_any_order_and_width(
    count: int, layout: Layout, order: random.Random
) -> None:
    one = world(count, layout=layout)
    for stage in (one.prepare, one.mask, one.agree):
        names = one.names
        order.shuffle(names)
        stage(names)
    assert one.sum.needs_reveal == (count > COMPLETE)
    if one.sum.needs_reveal:
        one.reveal(one.names)
    assert one.total() == one.wanted(one.names)
    assert one.sum.wrong_shares == ()


@FEW
@given(count=st.integers(3, COMPLETE), data=st.data())
def test_the_sum_is_that_of_the_survivors_whoever_fails_down_to_the_threshold(
    count: int, data: st.DataObject
) -> None:
    one = world(count)
    left, spare = one.names, math.ceil(count / 3) - 1
    survivors = left
    for stage in (one.prepare, one.mask, one.agree, one.reveal):
        lost = data.draw(st.integers(0, spare))
        spare -= lost
        left = sorted(data.draw(st.permutations(left))[lost:])
        stage(left)
        if stage == one.mask:
            survivors = left
    assert one.total() == one.wanted(survivors)


@pytest.mark.parametrize("count", [4, 5, 7, 12])
@pytest.mark.parametrize("stage", ["prepare", "mask", "agree", "reveal"])
def test_one_failure_more_than_the_threshold_fails_cleanly(count: int, stage: str) -> None:
    one, quorum = world(count), 2 * count // 3 + 1
    stages = {"prepare": one.prepare, "mask": one.mask, "agree": one.agree, "reveal": one.reveal}
    requests = {
        "prepare": one.sum.mask_request,
        "mask": one.sum.agree_request,
        "agree": one.sum.reveal_request,
        "reveal": lambda _: one.sum.total(),
    }
    for each, act in stages.items():
        # One vote is missing, so that the sum does not open by the votes alone.
        act(one.names[: quorum - 1] if each == stage else one.names[: max(quorum, count - (each == "agree"))])
        if each == stage:
            break
    with pytest.raises(QuorumNotReached, match=rf"{quorum - 1} messages.* needs {quorum}"):
        requests[stage](one.names[0])


def test_a_sum_of_a_large_cohort_survives_failures_at_every_stage() -> None:
    one = world(60)
    one.prepare(one.names[1:])
    one.mask(one.names[2:])
    one.agree(one.names[4:])
    one.reveal(one.names[5:])
    assert one.total() == one.wanted(one.names[2:])


def test_openings_that_arrive_later_complete_a_sum() -> None:
    one = world(7)
    one.prepare(one.names)
    one.mask(one.names[1:])
    one.agree(one.names[2:])
    one.reveal(one.names[2:6])
    with pytest.raises(QuorumNotReached, match="4 messages 'revealed' of 7 members"):
        one.sum.total()
    one.reveal(one.names[6:])
    assert one.total() == one.wanted(one.names[1:])
    assert one.total() == one.wanted(one.names[1:])


def test_a_new_coordinator_continues_with_the_same_messages() -> None:
    one = world(5)
    sent: dict[str, list[bytes]] = {"prepare": [], "mask": [], "agree": []}
    for name in one.names:
        sent["prepare"].append(one.prepared(name))
        one.sum.add_prepared(name, sent["prepare"][-1])
    for name in one.names:
        sent["mask"].append(one.masked(name, one.sum.mask_request(name)))
        one.sum.add_masked(name, sent["mask"][-1])
    requests = [one.sum.agree_request(name) for name in one.names]
    again = World(one.members, one.session, SMALL, one.records)
    for name, message in zip(one.names, sent["prepare"], strict=True):
        again.sum.add_prepared(name, message)
    again.sum.mask_request(one.names[0])
    for name, message in zip(one.names, sent["mask"], strict=True):
        again.sum.add_masked(name, message)
    assert [again.sum.agree_request(name) for name in one.names] == requests
    again.agree(one.names)
    assert again.total() == one.wanted(one.names)
