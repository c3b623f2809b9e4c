"""The stack of champions follows from the chain of decisions."""

from __future__ import annotations

import pytest

from models.errors import LedgerTampered
from models.ledger.chain import Entry
from models.promotion.champions import champions, pending
from models.promotion.decision import PromotionDecision, applied_body
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


def test_a_decision_is_accepted_only_if_every_gate_passed():
    assert decision(1).accepted
    assert not decision(1, passed=False).accepted
    assert decision(1, passed=False).body()["accepted"] is False


def test_promotions_push_and_rollbacks_pop():
    entries = history(decision(1), decision(4), decision(9), decision(4, kind="rollback"))
    entries.append(next_entry(entries, decision(5, passed=False).body()))
    taken(entries, decision(7, model="books"))

    assert champions(entries, "movies") == (1, 4)
    assert champions(entries, "books") == (7,)
    assert champions(entries, "music") == ()
    taken(entries, decision(1, kind="rollback"))
    assert champions(entries, "movies") == (1,)


def test_a_decision_that_was_not_applied_makes_no_champion():
    entries = history(decision(1))
    entries.append(next_entry(entries, decision(2).body()))

    assert champions(entries, "movies") == (1,)
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
