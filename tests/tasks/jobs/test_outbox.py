"""The messages that wait for MLflow, in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.errors import CorruptArtifact
from tasks.jobs.outbox import Outbox
from tasks.messages.outbox_messages import BreachMessage, LineageMessage


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
        ('{"kind": "bre', "is damaged", "Remove the file"),
        ('{"kind": "farewell", "content": {}}', "its kind is 'farewell'", "Remove the file"),
        ('{"kind": "breach", "content": {"round": 3, "text": ""}}', "lacks 'subject'", "Remove the file"),
        ('{"kind": "lineage", "content": {"format": 2, "data": {}}}', "has format 2", "Use the version"),
    ],
)
def test_anything_else_is_refused_with_its_name(
    tmp_path: Path, text: str, words: str, next_step: str
) -> None:
    (tmp_path / "000007.json").write_text(text)
    with pytest.raises(CorruptArtifact, match=words) as caught:
        Outbox(tmp_path).waiting()
    assert str(tmp_path / "000007.json") in str(caught.value)
    assert next_step in caught.value.next_step
