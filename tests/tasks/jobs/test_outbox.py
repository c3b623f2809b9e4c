"""The messages that wait for MLflow, in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.errors import CorruptArtifact, NotFound
from tasks.jobs.journal import held
from tasks.jobs.outbox import Outbox, drop_refused, outbox_of
from tasks.messages.outbox_messages import BreachMessage, LineageMessage, Refusal, RoundMessage
from tasks.messages.round_record import TrackedRound
from tests.worlds.records import evaluated_round, opening


def breach(round_: int) -> BreachMessage:
    return BreachMessage(round=round_, subject=f"round-{round_}", text="{}")


def test_messages_wait_in_order_until_their_file_goes(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    assert outbox.waiting() == []
    for number in range(11):
        outbox.put(breach(number))
    assert [each.message for each in outbox.waiting()] == [breach(number) for number in range(11)]
    for each in outbox.waiting()[:3]:
        each.path.unlink()
    last = LineageMessage(data={"ash": ("a" * 64, "file:///ash")})
    outbox.put(last)
    assert [each.message for each in outbox.waiting()] == [*(breach(n) for n in range(3, 11)), last]
    assert outbox.count() == 9


def test_a_message_of_a_job_that_ran_before_messages_had_a_format_is_read(tmp_path: Path) -> None:
    content = {"round": 3, "subject": "round-3", "text": "{}"}
    (tmp_path / "000001.json").write_text(json.dumps({"kind": "breach", "content": content}))
    assert [each.message for each in Outbox(tmp_path).waiting()] == [breach(3)]


@pytest.mark.parametrize(
    ("text", "words", "next_step"),
    [
        ('{"kind": "bre', "is damaged", "fedrec outbox drop"),
        ('{"kind": "farewell", "content": {}}', "its kind is 'farewell'", "fedrec outbox drop"),
        ('{"kind": "breach", "content": {"round": 3, "text": ""}}', "lacks 'subject'", "fedrec outbox drop"),
        ('{"kind": ["breach"], "content": {}}', "its kind is a list", "fedrec outbox drop"),
        ('{"kind": "breach", "content": ' + "[" * 50_000, "nested too deeply", "fedrec outbox drop"),
        ('{"kind": "lineage", "content": {"format": 2, "data": {}}}', "has format 2", "Use the version"),
    ],
)
def test_anything_else_is_refused_with_its_name(
    tmp_path: Path, text: str, words: str, next_step: str
) -> None:
    (tmp_path / "000007.json").write_text(text)
    (waiting,) = Outbox(tmp_path).waiting()
    with pytest.raises(CorruptArtifact, match=words) as caught:
        _ = waiting.message
    assert waiting.message_if_readable() is None
    assert str(tmp_path / "000007.json") in str(caught.value)
    assert next_step in caught.value.next_step


def refusal(follows: int | None = None) -> Refusal:
    return Refusal(what="breach", in_order=False, reason="no", follows=follows, refused_at="2026-11-28")


def test_messages_that_are_set_aside_keep_their_file_reason_and_number(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for number in range(3):
        outbox.put(breach(number))
    written = [each.path.read_bytes() for each in outbox.waiting()]
    outbox.set_aside(outbox.waiting()[1], refusal())
    outbox.set_aside(outbox.waiting()[1], refusal(follows=2))
    assert [each.number for each in outbox.waiting()] == [1]
    assert [(each.number, each.refusal) for each in outbox.refused()] == [
        (2, refusal()),
        (3, refusal(follows=2)),
    ]
    assert [each.path.read_bytes() for each in outbox.refused()] == written[1:]
    # A new message follows them, so that all keep their order if they are sent again.
    outbox.put(breach(9))
    outbox.put(breach(0), first=True)
    assert outbox.put_back() == 2
    assert [each.message.round for each in outbox.waiting()] == [0, 0, 1, 2, 9]
    assert (outbox.refused(), [*outbox.refused_folder.iterdir()]) == ([], [])


def test_a_lost_reason_hides_no_message_and_blocks_what_follows(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(breach(1))
    outbox.set_aside(outbox.waiting()[0], refusal())
    for text in ("", "[]", '{"format": 1}', "[" * 50_000):
        (outbox.refused_folder / "000001.reason").write_text(text)
        (found,) = outbox.refused()
        assert (found.message, found.refusal.in_order) == (breach(1), True)
        assert found.refusal.reason == "The reason cannot be read"
    (outbox.refused_folder / "000001.reason").unlink()
    assert outbox.refused()[0].refusal.what == "unknown"


def test_files_that_are_no_messages_are_ignored(tmp_path: Path) -> None:
    for name in ("1-old.json", "items.parquet", "000002.json.part", "notes.json"):
        (tmp_path / name).write_text("x")
    assert Outbox(tmp_path).all() == []
    Outbox(tmp_path).put(breach(1))
    assert Outbox(tmp_path).count() == 1


def test_only_messages_that_were_set_aside_are_dropped(tmp_path: Path) -> None:
    with held(tmp_path, "films", "k" * 8, opening()) as journal:
        outbox = outbox_of(journal)
        note = TrackedRound(version=None, metrics={"x": 1.0}, evaluation=None, seconds={"total": 1.0})
        outbox.put(RoundMessage(record=evaluated_round(1), metrics={}, note=note))
        for number in (1, 2):
            outbox.put(breach(number))
        for each in outbox.waiting()[:2]:
            outbox.set_aside(each, refusal())
        for numbers in ([3], [1, 7]):
            with pytest.raises(NotFound, match="fedrec outbox list"):
                drop_refused(journal, numbers)
        assert drop_refused(journal, [1]) == {1: refusal()}
        # The round's model need not be kept for MLflow any more.
        assert journal.tracked(1) == note
        assert [each.number for each in outbox.all()] == [2, 3]
        assert [*drop_refused(journal)] == [2]
        assert [each.number for each in outbox.all()] == [3]
        with pytest.raises(NotFound):
            drop_refused(journal)


def test_a_folder_with_the_name_of_a_message_is_none_and_keeps_its_number(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    (outbox.folder / "000903.json").mkdir(parents=True)
    (outbox.refused_folder / "000905.json").mkdir(parents=True)
    (outbox.folder / "000904.json").symlink_to("nowhere")

    assert (outbox.all(), outbox.count()) == ([], 0)
    assert outbox.put(breach(1)).number == 906
    assert [each.message for each in outbox.all()] == [breach(1)]
