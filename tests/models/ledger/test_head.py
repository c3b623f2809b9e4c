"""A head that another party knows reveals what the chain alone cannot: a cut end and a rewritten chain."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import InvalidInput
from models.ledger import chain
from models.ledger.chain import Entry
from models.ledger.head import EMPTY, Head, divergence, head_of
from tests.worlds.chains import next_entry


def history(*numbers: int) -> list[Entry]:
    entries: list[Entry] = []
    for number in numbers:
        entries.append(next_entry(entries, {"number": number}))
    return entries


WHOLE = history(1, 2, 3)
HEADS = [head_of(None), *(head_of(entry) for entry in WHOLE)]


def test_a_head_counts_the_entries_and_names_the_last():
    assert HEADS[0] == EMPTY == Head(0, "0" * 64)
    assert HEADS[3] == Head(3, WHOLE[2].hash)
    assert str(HEADS[3]) == f"entry 3 ({WHOLE[2].hash[:12]})"


@pytest.mark.parametrize("head", HEADS)
def test_a_ledger_contains_every_head_that_it_had(head):
    assert divergence(WHOLE, head) is None


def test_a_cut_end_is_found_although_the_chain_is_intact():
    cut = WHOLE[:2]
    chain.verify(cut)
    assert divergence(cut, HEADS[2]) is None
    assert divergence(cut, HEADS[3]) == "it has 2 entries, but had 3 before"
    assert divergence([], HEADS[1]) == "it has 0 entries, but had 1 before"


def test_a_rewritten_chain_is_found_whatever_its_length():
    anew = history(1, 2, 4, 5, 6)
    chain.verify(anew)
    assert divergence(anew, HEADS[2]) is None
    assert (
        divergence(anew, HEADS[3]) == f"entry 3 is {anew[2].hash[:12]}, but was {WHOLE[2].hash[:12]} before"
    )


def test_an_empty_head_has_one_hash_only():
    assert divergence(WHOLE, Head(0, "a" * 64)) is not None


def test_a_head_is_read_back_from_json():
    assert Head.of_json(vars(HEADS[3])) == HEADS[3]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [3, "a" * 64],
        {"count": 3},
        {"count": True, "sha256": "a" * 64},
        {"count": -1, "sha256": "a" * 64},
        {"count": 3.0, "sha256": "a" * 64},
        {"count": 3, "sha256": "A" * 64},
        {"count": 3, "sha256": 5},
        {"count": 3, "sha256": "a" * 64, "more": 1},
    ],
)
def test_a_value_that_is_not_a_head_is_refused(value: Any):
    with pytest.raises(InvalidInput):
        Head.of_json(value)
