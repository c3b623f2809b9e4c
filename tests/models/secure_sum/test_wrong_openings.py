"""A wrong opening is noticed: the sum is right in spite of it, or fails and names members."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import pytest

from models.errors import ProtocolBreach, QuorumNotReached
from models.secure_sum.messages import read_revealed, write_agreed, write_revealed
from models.secure_sum.openings import Opening
from models.secure_sum.primitives.statements import statement_of
from models.secure_sum.quick_opening import write_quick
from models.secure_sum.unmasking import WrongShare
from tests.models.secure_sum.sums import World, world


def to_reveal(count: int, *, dropped: int) -> World:
    """Return a sum before members reveal: the first ones did not mask, and the next one did not vote."""
    one = world(count)
    one.prepare(one.names)
    one.mask(one.names[dropped:])
    one.agree(one.names[dropped + 1 :])
    assert one.sum.needs_reveal
    return one


def reveal_wrongly(one: World, name: str, shares: Mapping[str, bytes], own: bytes | None = None) -> None:
    """Let a member reveal with other shares, or another self seed, than it has."""
    agreement = one.sum.agreement
    message = one.revealed(name, one.sum.reveal_request(name))
    true = read_revealed(agreement, name, message)
    lie = Opening(own or true.self_seed, {**true.shares, **shares})
    one.sum.add_revealed(name, write_revealed(one.members[name], agreement, lie))


@pytest.mark.parametrize("owner", ["silo-000", "silo-001"])
def test_a_wrong_share_is_named_and_the_sum_is_right(owner: str) -> None:
    # silo-000 dropped out before it masked, silo-001 before it voted.
    one = to_reveal(10, dropped=1)
    liar = one.names[2]
    reveal_wrongly(one, liar, {owner: os.urandom(16)})
    one.reveal(one.names[3:])
    assert one.total() == one.wanted(one.names[1:])
    assert one.sum.wrong_shares == (WrongShare(owner, liar),)


def test_too_many_wrong_shares_fail_and_the_members_are_named() -> None:
    one = to_reveal(10, dropped=1)
    for liar in one.names[2:4]:
        reveal_wrongly(one, liar, {"silo-000": os.urandom(16)})
    one.reveal(one.names[4:])
    with pytest.raises(ProtocolBreach, match=r"'silo-002', 'silo-003'.* gives no seed of member 'silo-000'"):
        one.sum.total()


def test_a_wrong_self_seed_is_replaced_by_the_shares_of_the_right_one() -> None:
    one = to_reveal(7, dropped=0)
    reveal_wrongly(one, one.names[1], {}, own=os.urandom(16))
    one.reveal(one.names[2:])
    assert one.total() == one.wanted(one.names)


def test_a_member_that_sealed_nonsense_spoils_the_sum_only_if_it_drops_out() -> None:
    for drops_out in (False, True):
        one = world(5)
        spoiler = one.names[0]
        impostor = replace(one.members[spoiler], encryption=world(3).members[spoiler].encryption)
        true = one.members[spoiler]
        # Sealed with another key than the announced one, the shares cannot be unsealed.
        one.members[spoiler] = impostor
        one.prepare([spoiler])
        one.members[spoiler] = true
        one.prepare(one.names[1:])
        one.mask(one.names[1:] if drops_out else one.names)
        one.agree(one.names[1:])
        if drops_out:
            with pytest.raises(QuorumNotReached, match="of a seed of 'silo-000' 0 shares arrived, and 4"):
                one.sum.total()
        else:
            one.agree([spoiler])
            assert one.total() == one.wanted(one.names)


@pytest.mark.parametrize("place", [0, -1])
def test_a_wrong_quick_opening_makes_a_reveal_necessary(place: int) -> None:
    one = world(5)
    one.prepare(one.names)
    one.mask(one.names)
    one.agree(one.names[1:])
    liar = one.names[0]
    message = one.agreed(liar, one.sum.agree_request(liar))
    quick = bytearray(message.partition(b"\n")[2])
    # The first byte is of a token, the last one of the sealed opening.
    quick[place] ^= 1
    one.sum.add_agreed(liar, write_agreed(one.members[liar], one.sum.agreement, bytes(quick)))
    assert one.sum.needs_reveal
    one.reveal(one.names)
    assert one.total() == one.wanted(one.names)


def test_a_quick_opening_of_another_self_seed_makes_a_reveal_necessary() -> None:
    one = world(5)
    one.prepare(one.names)
    one.mask(one.names)
    one.agree(one.names[1:])
    liar = one.names[0]
    record = one.records[liar]
    one.records[liar] = replace(record, seeds=replace(record.seeds, own=os.urandom(16)))
    one.agree([liar])
    assert one.sum.needs_reveal
    one.reveal(one.names[1:])
    assert one.total() == one.wanted(one.names)


def test_a_quick_opening_in_another_form_makes_a_reveal_necessary() -> None:
    class Strange(Opening):
        def to_bytes(self, owners: object) -> bytes:
            return self.self_seed + b"\2" + bytes(16)

    one = world(5)
    one.prepare(one.names)
    one.mask(one.names[1:])
    one.agree(one.names[2:])
    liar = one.names[1]
    one.agreed(liar, one.sum.agree_request(liar))
    agreement = one.sum.agreement
    lie = write_quick(one.members[liar], agreement, Strange(one.records[liar].seeds.own, {}))
    message = write_agreed(one.members[liar], agreement, lie)
    assert statement_of(message)
    one.sum.add_agreed(liar, message)
    assert one.sum.needs_reveal
    one.reveal(one.names[1:])
    assert one.total() == one.wanted(one.names[1:])
