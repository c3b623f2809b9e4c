"""The messages that wait for MLflow, in order."""

from __future__ import annotations

from pathlib import Path

from tasks.jobs.outbox import Outbox


def test_messages_wait_in_order_until_their_file_is_removed(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    assert outbox.waiting() == []
    for number in range(11):
        outbox.put("round", {"number": number})
    assert [message.content["number"] for message in outbox.waiting()] == list(range(11))
    for message in outbox.waiting()[:3]:
        message.path.unlink()
    outbox.put("result", {})
    assert [message.kind for message in outbox.waiting()] == ["round"] * 8 + ["result"]
    assert outbox.waiting()[0].content == {"number": 3}
