"""What a coordinator keeps of its secure sums: a new process reads it as the last one wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.exchange.store import AppendedRef, ArtifactRef
from tasks.jobs.sum_journal import SumJournal

NAMES = ("ash", "birch", "cedar")
BYTES = bytes(range(256))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "job-1"


def test_a_new_journal_has_nothing(folder: Path) -> None:
    journal = SumJournal(folder)
    assert journal.members() is None
    assert journal.prepared("train-000001") is None
    assert not journal.has_begun("train-000001")
    assert journal.masked("train-000001") is None


def test_members_and_their_messages_are_read_as_they_were_noted(folder: Path) -> None:
    announcements = {name: name.encode() + BYTES for name in NAMES}
    identities = {name: bytes([place]) * 32 for place, name in enumerate(NAMES)}
    SumJournal(folder).note_members(announcements, identities)
    assert SumJournal(folder).members() == (announcements, identities)
    SumJournal(folder).note_prepared("train-000001", NAMES, {"ash": BYTES})
    assert SumJournal(folder).prepared("train-000001") == (NAMES, {"ash": BYTES})
    # Members that were late are added.
    SumJournal(folder).note_prepared("train-000001", NAMES, {"ash": BYTES, "cedar": b""})
    assert SumJournal(folder).prepared("train-000001") == (NAMES, {"ash": BYTES, "cedar": b""})
    assert SumJournal(folder).prepared("train-000002") is None


def test_summands_in_the_exchange_and_in_answers_are_read_as_they_were_noted(folder: Path) -> None:
    ref = ArtifactRef("silos/ash/job-1/updates/000001/x.safetensors", "a" * 64, 7)
    SumJournal(folder).note_begun("train-000001")
    assert SumJournal(folder).has_begun("train-000001")
    assert SumJournal(folder).masked("train-000001") is None
    shared = AppendedRef("job-1/updates/1/all", "b" * 64, 7, 21)
    SumJournal(folder).note_masked("train-000001", {"ash": ref, "birch": BYTES, "cedar": shared})
    found = SumJournal(folder).masked("train-000001")
    assert found == {"ash": ref, "birch": BYTES, "cedar": shared}
    assert isinstance(found["cedar"], AppendedRef)
    SumJournal(folder).note_masked("evaluate-000001", {})
    assert SumJournal(folder).masked("evaluate-000001") == {}
