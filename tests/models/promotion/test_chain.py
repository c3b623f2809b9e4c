"""The chain finds every edit; the stack of champions follows from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import LedgerTampered
from models.promotion import chain
from models.promotion.chain import Entry
from models.promotion.decision import PromotionDecision, applied_body
from models.promotion.gates import GateVerdict


def decision(
    candidate: int, kind: str = "promotion", passed: bool = True, model: str = "movies"
) -> PromotionDecision:
    return PromotionDecision(
        kind=kind,  # type: ignore[arg-type]
        model_name=model,
        candidate=candidate,
        incumbent=None,
        verdicts=(GateVerdict("artefact", passed, "loads", "loads"),),
        actor="ada",
        reason="test",
        decided_at="2026-11-20T10:00:00+00:00",
        evidence={"sha256": "s"},
        policy={},
    )


def taken(entries: list[Entry], what: PromotionDecision) -> None:
    """The decision and its application are appended."""
    entries.append(chain.append(entries, what.body()))
    entries.append(chain.append(entries, applied_body(what.body(), entries[-1].hash, "2026-11-20T10:00:01Z")))


def history(*decisions: PromotionDecision) -> list[Entry]:
    entries: list[Entry] = []
    for what in decisions:
        taken(entries, what)
    return entries


def test_the_hash_is_over_sequence_predecessor_and_body():
    entry = chain.append([], {"b": 1, "a": "é"})

    text = '{"body":{"a":"é","b":1},"prev":"' + "0" * 64 + '","seq":1}'
    assert entry.hash == hashlib.sha256(text.encode()).hexdigest()
    assert (entry.seq, entry.prev) == (1, "0" * 64)
    assert chain.append([entry], {}).prev == entry.hash


def test_a_decision_is_accepted_only_where_every_gate_passed():
    assert decision(1).accepted
    assert not decision(1, passed=False).accepted
    assert decision(1, passed=False).body()["accepted"] is False


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none(), st.floats(-1e9, 1e9))))
def test_lines_round_trip(body):
    entry = chain.append([], body)

    assert chain.parse(entry.line(), 1) == entry
    assert "\n" not in entry.line()


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", '{"seq":1,"prev":"","body":{"x":NaN},"hash":""}'])
def test_what_is_no_entry_is_refused(line):
    with pytest.raises(LedgerTampered, match="entry 4"):
        chain.parse(line, 4)


def test_another_layout_of_the_same_entry_is_an_edit():
    line = chain.append([], {"a": 1}).line()
    with pytest.raises(LedgerTampered, match="not in the form"):
        chain.parse(json.dumps(json.loads(line)), 1)


def test_an_untouched_chain_is_intact():
    chain.verify([])
    chain.verify(history(decision(1), decision(2)))


@pytest.mark.parametrize("position", [1, 2, 3, 4])
def test_every_edit_is_found_where_it_was_made(position):
    entries = history(decision(1), decision(2))
    old = entries[position - 1]
    entries[position - 1] = replace(old, body={**old.body, "actor": "mallory"})

    with pytest.raises(LedgerTampered) as caught:
        chain.verify(entries)
    assert caught.value.position == position


def test_an_edit_with_its_hash_made_anew_is_found_at_the_next_entry():
    entries = history(decision(1), decision(2))
    entries[1] = chain.append(entries[:1], {**entries[1].body, "champion": 9})

    with pytest.raises(LedgerTampered) as caught:
        chain.verify(entries)
    assert caught.value.position == 3


def test_deleted_inserted_and_swapped_entries_are_found():
    entries = history(decision(1), decision(2))
    for wrong, position in (
        (entries[1:], 1),
        (entries[:1] + entries[2:], 2),
        ([*entries[:2], chain.append(entries[:2], {"x": 1}), *entries[2:]], 4),
        ([entries[0], entries[2], entries[1], entries[3]], 2),
    ):
        with pytest.raises(LedgerTampered) as caught:
            chain.verify(wrong)
        assert caught.value.position == position


def test_promotions_push_and_rollbacks_pop():
    entries = history(decision(1), decision(4), decision(9), decision(4, "rollback"))
    entries.append(chain.append(entries, decision(5, passed=False).body()))
    taken(entries, decision(7, model="books"))

    assert chain.champions(entries, "movies") == (1, 4)
    assert chain.champions(entries, "books") == (7,)
    assert chain.champions(entries, "music") == ()
    taken(entries, decision(1, "rollback"))
    assert chain.champions(entries, "movies") == (1,)


def test_a_decision_that_was_not_applied_makes_no_champion():
    entries = history(decision(1))
    entries.append(chain.append(entries, decision(2).body()))

    assert chain.champions(entries, "movies") == (1,)
    assert chain.pending(entries, "movies") == entries[-1]
    assert chain.pending(entries[:-1], "movies") is None
    assert chain.pending([], "movies") is None


def test_a_refused_decision_is_not_pending():
    entries = [chain.append([], decision(1, passed=False).body())]

    assert chain.pending(entries, "movies") is None


def test_an_application_needs_an_accepted_decision_that_says_so():
    refused = decision(1, passed=False).body()
    accepted = decision(1).body()
    for body, change in ((refused, {}), (accepted, {"champion": 2}), (accepted, {"kind": "rollback"})):
        entries = [chain.append([], body)]
        entries.append(chain.append(entries, applied_body(body, entries[0].hash, "t") | change))
        with pytest.raises(LedgerTampered, match="without an accepted decision"):
            chain.champions(entries, "movies")


def test_a_decision_is_applied_once():
    entries = history(decision(1))
    entries.append(chain.append(entries, entries[1].body))
    with pytest.raises(LedgerTampered, match="entry 3"):
        chain.champions(entries, "movies")


@pytest.mark.parametrize("target", [1, 3])
def test_a_rollback_must_lead_to_the_champion_before(target):
    entries = history(decision(1), decision(2), decision(3))
    taken(entries, decision(target, "rollback"))
    with pytest.raises(LedgerTampered, match="was not champion before"):
        chain.champions(entries, "movies")
