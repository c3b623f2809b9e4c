"""The stack of champions follows from the chain of decisions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.errors import LedgerTampered
from models.ledger.chain import Entry
from models.promotion.champions import Champion, Standing, champions, pending, standing
from models.promotion.decision import PromotionDecision, abandoned_body, applied_body
from tests.worlds.chains import next_entry
from tests.worlds.decisions import decision


def taken(entries: list[Entry], what: PromotionDecision) -> None:
    """Append the decision and its application."""
    entries.append(next_entry(entries, what.body()))
    entries.append(next_entry(entries, applied_body(what.body(), entries[-1].hash, "2026-11-20T10:00:01Z")))


def history(*decisions: PromotionDecision) -> list[Entry]:
    entries: list[Entry] = []
    for what in decisions:
        taken(entries, what)
    return entries


def versions(entries: list[Entry], model_name: str = "movies") -> list[int]:
    return [each.version for each in champions(entries, model_name)]


def stack_of(*versions: int) -> tuple[Champion, ...]:
    return tuple(Champion(version, "job-a", version) for version in versions)


def existing(*versions: int) -> Callable[[Champion], bool]:
    return lambda champion: champion.version in versions


def test_a_decision_is_accepted_only_if_every_gate_passed():
    assert decision(1).accepted
    assert not decision(1, passed=False).accepted
    assert decision(1, passed=False).body()["accepted"] is False


def test_promotions_push_and_rollbacks_pop():
    entries = history(decision(1), decision(4), decision(9), decision(4, kind="rollback"))
    entries.append(next_entry(entries, decision(5, passed=False).body()))
    taken(entries, decision(7, model="books"))

    assert champions(entries, "movies") == (Champion(1, "job-a", 1), Champion(4, "job-a", 4))
    assert versions(entries, "books") == [7]
    assert versions(entries, "music") == []
    taken(entries, decision(1, kind="rollback"))
    assert versions(entries) == [1]


def test_a_decision_that_was_not_applied_makes_no_champion():
    entries = history(decision(1))
    entries.append(next_entry(entries, decision(2).body()))

    assert versions(entries) == [1]
    assert pending(entries, "movies") == entries[-1]
    assert pending(entries[:-1], "movies") is None
    assert pending([], "movies") is None


def test_a_refused_decision_is_not_pending():
    entries = [next_entry([], decision(1, passed=False).body())]

    assert pending(entries, "movies") is None


def test_an_application_needs_an_accepted_decision():
    refused = decision(1, passed=False).body()
    accepted = decision(1).body()
    for body, change in ((refused, {}), (accepted, {"champion": 2}), (accepted, {"kind": "rollback"})):
        entries = [next_entry([], body)]
        entries.append(next_entry(entries, applied_body(body, entries[0].hash, "t") | change))
        with pytest.raises(LedgerTampered, match="without an accepted decision"):
            champions(entries, "movies")


def test_a_decision_is_applied_once():
    entries = history(decision(1))
    entries.append(next_entry(entries, entries[1].body))
    with pytest.raises(LedgerTampered, match="entry 3"):
        champions(entries, "movies")


@pytest.mark.parametrize("target", [1, 3])
def test_a_rollback_must_lead_to_the_previous_champion(target):
    entries = history(decision(1), decision(2), decision(3))
    taken(entries, decision(target, kind="rollback"))
    with pytest.raises(LedgerTampered, match="was not the champion before"):
        champions(entries, "movies")


def test_a_rollback_without_any_champion_is_tampering():
    with pytest.raises(LedgerTampered, match="entry 2"):
        versions(history(decision(1, kind="rollback")))


@pytest.mark.parametrize(
    ("last", "left"),
    [
        # The champion, version 3, is gone.
        (decision(4, gone=(3,)), [1, 2, 4]),
        (decision(2, kind="rollback", gone=(3,)), [1, 2]),
        # The one before it is gone.
        (decision(4, gone=(2,)), [1, 3, 4]),
        (decision(1, kind="rollback", gone=(2,)), [1]),
        # All are gone, and their numbers begin again.
        (decision(4, gone=(3, 2, 1)), [4]),
        (decision(3, gone=(3, 2, 1)), [3]),
        # A version takes the place of one that stood between its two times.
        (decision(2, gone=(3,)), [1, 2]),
    ],
)
def test_champions_that_are_gone_leave_the_stack_at_the_next_decision(last, left):
    entries = history(decision(1), decision(2), decision(3), last)

    assert versions(entries) == left
    # An application records what was done; the decisions about what is gone stay in the ledger.
    assert len(entries) == 8


def test_a_champion_that_returned_leaves_twice_when_it_is_gone():
    entries = history(decision(1), decision(2), decision(1), decision(3, gone=(1,)))

    assert versions(entries) == [2, 3]


def test_a_rollback_passes_over_an_earlier_term_of_the_same_champion():
    # By 1, 2, 3, 2 and the loss of 3, a rollback from 2 leads to 1.
    entries = history(decision(1), decision(2), decision(3), decision(2))
    taken(entries, decision(1, kind="rollback", gone=(3,)))

    assert versions(entries) == [1]


def test_an_old_decision_names_no_versions_that_are_gone():
    body = decision(1).body()
    del body["gone"]
    entries = [next_entry([], body)]
    entries.append(next_entry(entries, applied_body(body, entries[0].hash, "t")))

    assert versions(entries) == [1]


def test_an_abandoned_decision_makes_no_champion_and_is_over():
    entries = history(decision(1))
    entries.append(next_entry(entries, decision(2).body()))
    entries.append(next_entry(entries, abandoned_body(entries[-1].body, entries[-1].hash, "t")))

    assert versions(entries) == [1]
    assert pending(entries, "movies") is None
    entries.append(next_entry(entries, entries[-1].body))
    with pytest.raises(LedgerTampered, match="abandoned without an accepted decision"):
        versions(entries)


@pytest.mark.parametrize(
    ("stack", "left", "found"),
    [
        ((), (), (None, None, ())),
        ((1,), (1,), (1, None, ())),
        ((1, 2, 3), (1, 2, 3), (3, 2, ())),
        ((1, 2, 3), (1, 2), (None, 2, (3,))),
        ((1, 2, 3), (1, 3), (3, 1, (2,))),
        ((1, 2, 3), (1,), (None, 1, (3, 2))),
        ((1, 2, 3), (3,), (3, None, (2, 1))),
        ((1, 2, 3), (), (None, None, (3, 2, 1))),
        # What lies below the first that exists is not looked at.
        ((1, 2, 3), (2, 3), (3, 2, ())),
        # A version is no rollback from itself.
        ((1, 2, 3, 2), (1, 2), (2, 1, (3,))),
        ((2, 3, 2), (2,), (2, None, (3,))),
    ],
)
def test_the_standing_is_what_exists_of_the_stack(stack, left, found):
    champions_ = stack_of(*stack)
    assert standing(champions_, existing(*left)) == Standing(champions_, *found)


def test_the_standing_says_what_a_new_champion_replaces():
    assert Standing().instead() == "as the first one"
    assert Standing(stack_of(1, 2), 2, 1).instead() == "instead of version 2"
    lost = Standing(stack_of(1, 2), None, 1, (2,))
    assert (lost.lost, lost.instead()) == (2, "in place of version 2, which is gone")
    assert Standing(stack_of(1, 2), 2, None, (1,)).lost is None
