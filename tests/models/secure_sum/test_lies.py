"""A coordinator that lies, with as many colluding members as may be, learns no more than one sum of many."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain, combinations

import pytest

from models.secure_sum.graph import COMPLETE
from tests.models.secure_sum.adversary import Adversary
from tests.models.secure_sum.sums import world


def adversary(count: int, colluding: int) -> Adversary:
    """Return an adversary whose colluding members are the first ones, after all prepared."""
    one = world(count)
    found = Adversary(one, one.names[:colluding])
    found.prepare()
    return found


def masked(count: int, colluding: int) -> Adversary:
    """Return an adversary after all masked with all."""
    found = adversary(count, colluding)
    for name in found.world.names:
        found.mask(name, found.world.names)
    return found


def subsets(names: Collection[str]) -> Iterator[tuple[str, ...]]:
    return chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1))


def learned(one: Adversary) -> list[tuple[str, ...]]:
    """Return all sets of honest members whose sum the adversary can compute."""
    one.unseal_quick_openings()
    return [names for names in subsets(one.honest) if one.learns(names)]


def test_of_an_honest_session_the_sum_is_all_that_is_learned() -> None:
    one = masked(7, 2)
    for name in one.honest:
        agreement = one.agree(name, one.world.names)
    one.collude(agreement)
    assert learned(one) == [tuple(one.honest)]


def test_of_an_honest_session_with_failures_the_sum_of_the_survivors_is_all_that_is_learned() -> None:
    one = masked(7, 2)
    gone = one.honest[0]
    for name in one.honest[1:]:
        agreement = one.agree(name, set(one.world.names) - {gone})
    one.collude(agreement)
    # Also without the votes that unseal each other.
    for name in one.honest[1:]:
        one.reveal(name, agreement)
    assert one.refusals == 0
    assert learned(one) == [tuple(one.honest[1:])]


def test_more_colluding_members_than_may_be_would_learn_a_summand() -> None:
    # It shows that the adversary of these tests computes what can be computed.
    one = masked(7, 5)
    assert one.world.session.shares_needed(one.honest[0]) == 5
    assert (one.honest[0],) in learned(one)


@pytest.mark.parametrize("colluding", [0, 1, 2])
def test_survivors_that_differ_between_members_open_nothing(colluding: int) -> None:
    one = masked(7, colluding)
    # Without votes, with shares alone, this choice would open the mask seeds of all but two honest members.
    missing = dict(zip(one.honest, ((2, 3), (2, 4), (3, 4), (2, 4), (2, 3)), strict=False))
    agreements = []
    for name in one.honest:
        absent = {one.honest[place] for place in missing.get(name, ())} - {name}
        agreements.append(one.agree(name, set(one.world.names) - absent))
    for agreement in set(agreements):
        one.collude(agreement)
        for name in one.honest:
            if (name, agreement) in one.votes:
                one.reveal(name, agreement)
    assert one.openings == []
    assert learned(one) == []
    assert [one.self_seed(name) for name in one.honest] == [None] * len(one.honest)


def test_two_halves_with_different_survivors_open_nothing() -> None:
    one = masked(7, 2)
    whole, part = set(one.world.names), set(one.world.names) - {one.honest[0]}
    for name in one.honest:
        one.agree(name, whole if name < one.honest[3] else part)
    for agreement in {agreement for _, agreement in one.votes}:
        one.collude(agreement)
        for name in one.honest:
            if (name, agreement) in one.votes:
                one.reveal(name, agreement)
    # A quorum is five: the colluding members and the three honest ones that voted for the whole.
    assert learned(one) == [tuple(one.honest)]
    seeds = [(one.self_seed(name), one.mask_seed(name)) for name in one.honest]
    assert all(None in pair for pair in seeds)


@pytest.mark.parametrize("count", [3, 4, 5, 7, 10])
def test_too_few_survivors_are_refused(count: int) -> None:
    one = masked(count, (count - 1) // 3)
    quorum = one.world.session.quorum
    for name in one.honest:
        others = [other for other in one.world.names if other != name]
        one.agree(name, {name, *others[: quorum - 2]})
    assert one.refusals == len(one.honest)
    assert not any(one.learns([name]) for name in one.honest)


def test_a_list_of_who_prepared_for_one_member_alone_stops_its_neighbours() -> None:
    one = adversary(7, 2)
    victim = one.honest[0]
    for name in one.world.names:
        one.mask(name, set(one.world.names) - set(one.honest[3:]) if name == victim else one.world.names)
    for name in one.honest[1:]:
        agreement = one.agree(name, set(one.world.names) - set(one.honest[3:4]))
    one.collude(agreement)
    assert learned(one) == []
    # The member that dropped out by its list may not vote, and the neighbours of the victim refuse.
    assert one.refusals == len(one.honest[1:])


def test_in_a_large_cohort_too_few_of_all_or_around_a_member_are_refused() -> None:
    one = masked(60, 0)
    names, victim = one.world.names, one.world.names[0]
    around = one.world.session.neighbours[victim]
    # 41 of 60 are a quorum, and 16 of a member with its 22 neighbours.
    far = [name for name in names if name not in around and name != victim]
    one.agree(victim, {victim, *around, *far[:17]})
    assert one.refusals == 1
    one.agree(victim, {victim, *around[:14], *far})
    assert one.refusals == 2
    one.agree(victim, {victim, *around[:15], *far})
    assert one.refusals == 2


def test_in_a_large_cohort_a_neighbourhood_with_survivors_of_its_own_opens_nothing() -> None:
    one = masked(COMPLETE + 20, 0)
    names, victim = one.world.names, one.world.names[0]
    near = set(one.world.session.neighbours[victim])
    # To the others, as many of the victim's neighbours have dropped out as may.
    gone = set(sorted(near)[: len(names) - one.world.session.quorum])
    agreements = {one.agree(name, names if name in near | {victim} else set(names) - gone) for name in names}
    for agreement in agreements:
        for name in names:
            if (name, agreement) in one.votes:
                one.reveal(name, agreement)
    assert one.openings == []
    assert [one.self_seed(name) for name in names] == [None] * len(names)


def test_in_a_large_cohort_a_list_of_who_prepared_for_one_member_alone_stops_its_neighbours() -> None:
    one = adversary(60, 0)
    names, victim = one.world.names, one.world.names[0]
    around = one.world.session.neighbours[victim]
    one.colluding, dropped, honest = around[:9], around[9:15], around[15:]
    # The victim masks with colluding members and with those that will drop out, hence with known masks only.
    for name in names:
        one.mask(name, set(names) - set(honest) if name == victim else names)
    voters = set(one.honest) - set(dropped) - {victim}
    (agreement,) = {one.agree(name, set(names) - set(dropped)) for name in voters}
    one.collude(agreement)
    assert one.refusals == len(honest)
    for name in voters - set(honest):
        one.reveal(name, agreement)
    assert len(one.openings) == len(voters - set(honest)) > 0
    # The mask seeds of those that dropped out are open, but 9 shares of the self seed are too few.
    assert one.self_seed(victim) is None
    assert not one.learns([victim])
