"""The chain finds every edit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import LedgerTampered
from models.ledger import chain
from models.ledger.chain import Entry
from tests.worlds.chains import next_entry

WRONG_TYPES = [
    '{"body":{},"hash":"","prev":"","seq":"1"}',
    '{"body":{},"hash":"","prev":"","seq":true}',
    '{"body":[],"hash":"","prev":"","seq":1}',
    '{"body":{},"hash":"","prev":1,"seq":1}',
    '{"body":{},"hash":null,"prev":"","seq":1}',
    "[" * 100_000,
]


def history() -> list[Entry]:
    """Return four entries."""
    entries: list[Entry] = []
    for number in (1, 2, 3, 4):
        entries.append(next_entry(entries, {"actor": "ada", "champion": number}))
    return entries


def test_the_hash_covers_sequence_predecessor_and_body():
    entry = next_entry([], {"b": 1, "a": "é"})

    text = '{"body":{"a":"é","b":1},"prev":"' + "0" * 64 + '","seq":1}'
    assert entry.hash == hashlib.sha256(text.encode()).hexdigest()
    assert (entry.seq, entry.prev) == (1, "0" * 64)
    assert next_entry([entry], {}).prev == entry.hash


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none(), st.floats(-1e9, 1e9))))
def test_lines_round_trip(body):
    entry = next_entry([], body)

    assert chain.parse(entry.line(), 1) == entry
    assert "\n" not in entry.line()


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "{}", '{"seq":1,"prev":"","body":{"x":NaN},"hash":""}', *WRONG_TYPES]
)
def test_text_that_is_not_an_entry_is_refused(line):
    with pytest.raises(LedgerTampered, match="entry 4"):
        chain.parse(line, 4)


def test_another_layout_of_the_same_entry_is_an_edit():
    line = next_entry([], {"a": 1}).line()
    with pytest.raises(LedgerTampered, match="not in the canonical form"):
        chain.parse(json.dumps(json.loads(line)), 1)


def test_an_unedited_chain_is_intact():
    chain.verify([])
    chain.verify(history())


@pytest.mark.parametrize("position", [1, 2, 3, 4])
def test_every_edit_is_found_at_its_entry(position):
    entries = history()
    old = entries[position - 1]
    entries[position - 1] = replace(old, body={**old.body, "actor": "mallory"})

    with pytest.raises(LedgerTampered) as caught:
        chain.verify(entries)
    assert caught.value.position == position


def test_an_edit_with_a_recomputed_hash_is_found_at_the_next_entry():
    entries = history()
    entries[1] = next_entry(entries[:1], {**entries[1].body, "champion": 9})

    with pytest.raises(LedgerTampered) as caught:
        chain.verify(entries)
    assert caught.value.position == 3


def test_deleted_inserted_and_swapped_entries_are_found():
    entries = history()
    for wrong, position in (
        (entries[1:], 1),
        (entries[:1] + entries[2:], 2),
        ([*entries[:2], next_entry(entries[:2], {"x": 1}), *entries[2:]], 4),
        ([entries[0], entries[2], entries[1], entries[3]], 2),
    ):
        with pytest.raises(LedgerTampered) as caught:
            chain.verify(wrong)
        assert caught.value.position == position


def test_an_entry_follows_from_the_last_one_only():
    entries = history()

    assert (chain.follow(None, {"a": 1}).seq, chain.follow(None, {"a": 1}).prev) == (1, chain.GENESIS)
    assert chain.follow(entries[-1], {"a": 1}).prev == entries[-1].hash
    assert chain.follow(entries[-1], {"a": 1}).seq == 5


def test_an_error_names_its_ledger():
    entries = history()
    with pytest.raises(LedgerTampered, match=r"^The egress ledger was changed: entry 1 is"):
        chain.verify(entries[1:], ledger="egress ledger")
    with pytest.raises(LedgerTampered, match=r"^The egress ledger was changed: entry 7 is"):
        chain.parse("", 7, ledger="egress ledger")
    with pytest.raises(LedgerTampered, match=r"^The ledger was changed: entry 1 is"):
        chain.verify(entries[1:])
