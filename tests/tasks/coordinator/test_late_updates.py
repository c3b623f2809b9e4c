"""A late update is recognised by what its silo signed, and by nothing else in the folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models.federation.envelope import AnswerContext
from tasks.coordinator.late_updates import late_update
from tasks.exchange.layout import silo_answers_folder
from tasks.exchange.store import Exchange
from tasks.local.home import Home
from tasks.messages.late_update import LateUpdate
from tasks.silos.keys import SiloKey, make_key
from tasks.silos.signed_answers import MAX_ANSWER_BYTES, sign_answer
from tests.worlds.records import round_record

QUESTION = AnswerContext("ash", "train", "job-1", 2, "b" * 64)
BODY = {
    "update": {"path": "silos/ash/job-1/updates/000002/x", "sha256": "c" * 64, "size": 5},
    "seconds": 0.1,
    "lightfm_s": 0.1,
    "transfer_s": 0.0,
}


@dataclass
class Place:
    """The place of the answer to round 2 of job-1."""

    exchange: Exchange
    key: SiloKey
    committed_at: datetime

    def leave(self, data: bytes) -> str:
        return self.exchange.put(silo_answers_folder("ash", "job-1", 2, "train"), data).sha256

    def found(self) -> LateUpdate | None:
        committed_at = self.committed_at.isoformat(timespec="milliseconds")
        record = round_record(2, job_id="job-1", base_sha256="b" * 64, committed_at=committed_at)
        return late_update(self.exchange, self.key.public, "ash", record)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    before = datetime.now(UTC) - timedelta(seconds=90)
    return Place(Exchange((tmp_path / "exchange").as_uri()), make_key(Home(tmp_path / "silo")), before)


def test_an_empty_folder_holds_no_late_update(place: Place) -> None:
    assert place.found() is None


def test_a_late_update_is_recorded(place: Place) -> None:
    answer_sha256 = place.leave(sign_answer(QUESTION, BODY, place.key))
    found = place.found()
    assert found is not None
    seen_at = datetime.fromisoformat(found.seen_at)
    assert seen_at <= datetime.now(UTC)
    late = (seen_at - place.committed_at).total_seconds()
    assert found.seconds_late == pytest.approx(late, abs=0.01)
    assert found.reason == f"its update {'c' * 12} came at most {late:.1f} s after its round was over"
    assert (found.round, found.client_id, found.stage) == (2, "ash", "late")
    assert (found.sha256, found.answer_sha256) == ("c" * 64, answer_sha256)


@pytest.mark.parametrize(
    "changes", [{"round": 1}, {"job_id": "job-0"}, {"kind": "evaluate"}, {"base_sha256": "0" * 64}]
)
def test_an_answer_to_another_question_is_no_late_update(place: Place, changes: dict[str, Any]) -> None:
    place.leave(sign_answer(replace(QUESTION, **changes), BODY, place.key))
    assert place.found() is None


def test_objects_of_others_are_no_late_update(place: Place, tmp_path: Path) -> None:
    stranger = make_key(Home(tmp_path / "stranger"))
    place.leave(sign_answer(QUESTION, BODY, stranger))
    place.leave(sign_answer(QUESTION, {"update": None}, place.key))
    place.leave(b" " * (MAX_ANSWER_BYTES + 1))
    place.leave(b"junk")
    assert place.found() is None
    place.leave(sign_answer(QUESTION, BODY, place.key))
    assert place.found() is not None
