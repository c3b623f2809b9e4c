"""A member's record survives a crash at any time, and does not show its seeds."""

from __future__ import annotations

import json

import pytest

from models.errors import CorruptArtifact
from models.secure_sum.openings import Opening
from models.secure_sum.record import MemberRecord
from models.secure_sum.seeds import SeedShares
from tests.models.secure_sum.sums import World, world


def stored(one: World) -> None:
    """Read all records again from their bytes, as after a crash."""
    one.records = {name: MemberRecord.from_bytes(record.to_bytes()) for name, record in one.records.items()}


def test_a_sum_goes_on_with_records_from_disk_at_every_stage() -> None:
    one = world(5)
    for stage, names in ((one.prepare, one.names), (one.mask, one.names), (one.agree, one.names[1:])):
        stage(names)
        before = dict(one.records)
        stored(one)
        assert one.records == before
    one.reveal(one.names[1:])
    assert one.total() == one.wanted(one.names)


def test_a_record_and_what_is_opened_do_not_show_secrets() -> None:
    one = world(3)
    one.prepare(one.names)
    record = one.records[one.names[0]]
    shown = repr(record)
    for seed in (record.seeds.mask, record.seeds.own):
        assert seed.hex() not in shown
        assert repr(seed) not in shown
    assert repr(SeedShares(b"a" * 16, b"b" * 16)) == "SeedShares()"
    assert repr(Opening(b"a" * 16, {"x": b"b" * 16})) == "Opening()"


def test_seeds_are_fresh_in_every_session_and_for_every_member() -> None:
    one, two = world(4), world(4)
    one.prepare(one.names)
    two.prepare(two.names)
    records = [*one.records.values(), *two.records.values()]
    seeds = [seed for record in records for seed in (record.seeds.mask, record.seeds.own)]
    assert len(set(seeds)) == 16


def test_a_damaged_record_is_refused() -> None:
    one = world(4)
    one.prepare(one.names)
    one.mask(one.names)
    one.agree(one.names)
    record = one.records[one.names[0]]
    good = record.to_bytes()
    assert MemberRecord.from_bytes(good) == record
    values = json.loads(good)
    others = [
        good[:-1],
        good + b" ",
        b"[]",
        b"\xff",
        good.replace(b'"masked"', b'"maskad"'),
        json.dumps({**values, "mask_seed": "00"}, sort_keys=True, separators=(",", ":")).encode(),
        json.dumps({**values, "prepared": 1}, sort_keys=True, separators=(",", ":")).encode(),
        json.dumps({**values, "more": 1}, sort_keys=True, separators=(",", ":")).encode(),
    ]
    for other in others:
        with pytest.raises(CorruptArtifact, match="The record of a secure sum is damaged"):
            MemberRecord.from_bytes(other)
