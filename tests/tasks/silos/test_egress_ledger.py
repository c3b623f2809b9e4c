"""The egress ledger: written before anything leaves, by many at once, and summed up for the owner."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from models.errors import LedgerTampered
from tasks.local.home import Home
from tasks.silos.egress_ledger import EgressLedger, summarise


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


@pytest.fixture
def ledger(home: Home) -> EgressLedger:
    return EgressLedger(home)


def facts(**others: Any) -> dict[str, Any]:
    known = {"what": "client_update", "job_id": "job-1", "round": 1, "bytes": 100, "sha256": "a" * 64}
    return {**known, "fields": ["biases", "embeddings"], "to": "silos/ash/job-1/1", **others}


def test_a_record_is_on_disk_when_the_call_returns(ledger, home):
    before = datetime.now(UTC).replace(microsecond=0)
    entry = ledger.record(**facts())
    assert (home.root / "egress.jsonl").read_text() == entry.line() + "\n"
    body = dict(entry.body)
    assert before <= datetime.fromisoformat(body.pop("at")) <= datetime.now(UTC)
    assert body == {**facts(), "type": "sent", "treatment": "none"}


def test_what_is_said_of_noise_is_in_the_entry_and_in_the_summary(ledger):
    noise = {"multiplier": 3.0, "own_share": 0.25, "epsilon": 1.2, "delta": 1e-5}
    assert ledger.record(**facts(privacy=noise)).body["privacy"] == noise
    ledger.record(**facts(what="train"))
    assert [row.get("privacy") for row in summarise(ledger.read().entries)["sent"]] == [noise, None]


def test_a_refusal_holds_its_reason(ledger):
    body = ledger.record(**facts(refused="too large", treatment="clipped")).body
    assert (body["type"], body["reason"], body["treatment"]) == ("refused", "too large", "clipped")


def test_an_empty_ledger_is_intact(ledger):
    assert ledger.read().entries == ledger.read_verified().entries == []
    assert summarise([]) == {"sent": [], "refused": [], "objects": 0, "bytes": 0, "sendings": 0}


@pytest.mark.parametrize("position", [1, 2, 3])
def test_every_edit_is_found(ledger, home, position):
    for round_ in (1, 2, 3):
        ledger.record(**facts(round=round_))
    file = home.root / "egress.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[position - 1] = lines[position - 1].replace(b'"bytes":100', b'"bytes":1')
    file.write_bytes(b"".join(lines))
    assert len(ledger.read().entries) == 3
    with pytest.raises(LedgerTampered, match="The egress ledger was changed") as caught:
        ledger.read_verified()
    assert caught.value.position == position


def test_a_deleted_line_is_found(ledger, home):
    for round_ in (1, 2, 3):
        ledger.record(**facts(round=round_))
    file = home.root / "egress.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[2])
    with pytest.raises(LedgerTampered) as caught:
        ledger.read_verified()
    assert caught.value.position == 2


def test_a_line_torn_by_a_crash_is_set_aside(ledger, home):
    ledger.record(**facts(round=1))
    with (home.root / "egress.jsonl").open("ab") as file:
        file.write(b'{"body":{"at":')
    assert ledger.read_verified().torn == b'{"body":{"at":'
    ledger.record(**facts(round=2))
    found = ledger.read_verified()
    assert ([entry.body["round"] for entry in found.entries], found.torn) == ([1, 2], b"")
    assert (home.root / "egress.torn.log").read_bytes() == b'{"body":{"at":\n'


def test_concurrent_steps_lose_no_entry(home):
    def send(round_: int) -> None:
        for number in range(5):
            EgressLedger(home).record(**facts(round=round_, sha256=f"{number}"))

    threads = [threading.Thread(target=send, args=(round_,)) for round_ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = EgressLedger(home).read_verified().entries
    assert sorted((entry.body["round"], entry.body["sha256"]) for entry in entries) == [
        (round_, str(number)) for round_ in range(6) for number in range(5)
    ]


def test_the_summary_adds_up(ledger):
    ledger.record(**facts(sha256="a", bytes=100))
    ledger.record(**facts(sha256="b", bytes=20, fields=["biases", "scales"], treatment="clipped"))
    ledger.record(**facts(sha256="c", bytes=3, what="train", fields=["seconds"]))
    ledger.record(**facts(sha256="d", bytes=5, round=2))
    ledger.record(**facts(sha256="e", bytes=900, refused="too large"))
    ledger.record(**facts(sha256="f", bytes=7, job_id="job-2"))
    # The first again, as after a crash before it was sent.
    last = ledger.record(**facts(sha256="a", bytes=100)).body["at"]

    summary = summarise(ledger.read().entries)

    rows = [(row["job_id"], row["round"], row["what"]) for row in summary["sent"]]
    assert rows == [
        ("job-1", 1, "client_update"),
        ("job-1", 1, "train"),
        ("job-1", 2, "client_update"),
        ("job-2", 1, "client_update"),
    ]
    assert summary["sent"][0] == {
        "job_id": "job-1",
        "round": 1,
        "what": "client_update",
        "objects": 2,
        "bytes": 120,
        "sendings": 3,
        "fields": ["biases", "embeddings", "scales"],
        "treatments": ["none", "clipped"],
        "last_at": last,
    }
    assert (summary["objects"], summary["bytes"], summary["sendings"]) == (5, 135, 6)
    assert [body["bytes"] for body in summary["refused"]] == [900]


def test_the_summary_of_one_job_leaves_the_others_out(ledger):
    ledger.record(**facts(bytes=100))
    ledger.record(**facts(bytes=7, job_id="job-2"))
    ledger.record(**facts(job_id="job-2", refused="too large"))
    assert summarise(ledger.read().entries, "job-1")["refused"] == []
    other = summarise(ledger.read().entries, "job-2")
    assert (other["objects"], other["bytes"], len(other["refused"])) == (1, 7, 1)
    assert summarise(ledger.read().entries, "job-3")["sent"] == []
