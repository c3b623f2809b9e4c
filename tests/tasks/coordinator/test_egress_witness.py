"""The coordinator keeps what a silo signed about its ledger, and so finds later changes of that ledger."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from models.errors import InvalidInput, LedgerTampered, NotFound
from models.federation.envelope import AnswerContext
from models.ledger import chain
from models.ledger.head import EMPTY, Head
from tasks.coordinator.egress_witness import (
    SiloWitness,
    faults_of,
    read_witness,
    require_witnessed,
    witnessed_answers,
    witnesses,
)
from tasks.local.home import Home
from tasks.messages.signed_head import SignedHead
from tasks.silos.egress_ledger import EgressLedger, read_ledger
from tasks.silos.keys import SiloKey, make_key
from tasks.silos.signed_answers import sign_answer
from tests.worlds.chains import next_entry

QUESTION = AnswerContext("ash", "train", "job-1", 1, "b" * 64)


@dataclass
class Pair:
    """A silo with its ledger, and the coordinator that receives its answers."""

    silo: Home
    key: SiloKey
    witness: SiloWitness
    answers: list[bytes] = field(default_factory=list)

    @property
    def ledger(self) -> EgressLedger:
        return EgressLedger(self.silo)

    @property
    def file(self) -> Path:
        return self.silo.root / "egress.jsonl"

    def send(self, data: bytes, what: str = "train") -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        self.ledger.record(what=what, job_id="job-1", round=1, bytes=len(data), sha256=sha256, fields=[])

    def sign(self, round_: int) -> bytes:
        """Sign as a silo does: the update, the head, and the answer that carries it."""
        self.send(b"update %d" % round_, "client_update")
        question = AnswerContext("ash", "train", "job-1", round_, "b" * 64)
        data = sign_answer(question, {"egress": vars(self.ledger.head())}, self.key)
        self.send(data)
        return data

    def round(self, round_: int) -> None:
        self.answers.append(self.sign(round_))
        self.witness.keep(self.answers[-1], self.key.public)

    def faults(self) -> list[str]:
        return list(faults_of(read_ledger(self.file), witnessed_answers(self.witness.read_verified())))


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    silo = Home(tmp_path / "silo")
    return Pair(silo, make_key(silo), SiloWitness(Home(tmp_path / "coordinator"), "ash"))


@pytest.fixture
def after(pair: Pair) -> Pair:
    """Return the pair after three rounds, with two entries a round."""
    for round_ in (1, 2, 3):
        pair.round(round_)
    return pair


def signed_in(data: bytes) -> SignedHead:
    head = Head.of_json(json.loads(data)["body"]["egress"])
    return SignedHead(head, hashlib.sha256(data).hexdigest())


def test_what_a_silo_signed_is_kept(after: Pair) -> None:
    told = witnessed_answers(after.witness.read_verified())
    assert [(each.context.round, each.signed.head.count) for each in told] == [(1, 1), (2, 3), (3, 5)]
    assert [each.signed.answer for each in told] == [hashlib.sha256(a).hexdigest() for a in after.answers]
    assert {each.key_id for each in told} == {after.key.key_id}
    assert after.witness.newest() == signed_in(after.answers[-1])
    assert witnesses(after.witness.home) == [after.witness]
    assert (told[0].as_json()["round"], told[0].as_json()["count"]) == (1, 1)
    assert read_witness(after.witness.path) == after.witness.read_verified()


def test_of_a_silo_that_never_answered_nothing_is_kept(pair: Pair, tmp_path: Path) -> None:
    assert pair.witness.newest() is None
    assert pair.witness.read_verified() == []
    assert witnesses(pair.witness.home) == []
    with pytest.raises(NotFound, match="nowhere"):
        read_witness(tmp_path / "nowhere")


def test_an_unchanged_ledger_contains_all_that_was_signed(after: Pair) -> None:
    after.send(b"more that left since")
    assert after.faults() == []
    require_witnessed(read_ledger(after.file), witnessed_answers(after.witness.read_verified()), "ash")


@pytest.mark.parametrize(("kept", "rounds"), [(0, [1, 2, 3]), (3, [2, 3]), (4, [3]), (5, [3])])
def test_a_cut_end_is_found(after: Pair, kept: int, rounds: list[int]) -> None:
    lines = after.file.read_bytes().splitlines(keepends=True)
    after.file.write_bytes(b"".join(lines[:kept]))
    chain.verify(read_ledger(after.file))
    faults = after.faults()
    assert [fault.partition(",")[0] for fault in faults] == [
        f"'train' of round {round_}" for round_ in rounds
    ]
    if kept == 5:  # the newest answer's own entry, which no head contains yet
        assert "but not the answer" in faults[0]
    with pytest.raises(LedgerTampered) as caught:
        require_witnessed(read_ledger(after.file), witnessed_answers(after.witness.read_verified()), "ash")
    assert caught.value.faults == faults


def test_a_rewritten_ledger_is_found_although_it_grew(after: Pair) -> None:
    after.file.unlink()
    for number in range(20):
        after.send(b"%d" % number)
    assert len(after.faults()) == 3
    # Not even with the answers in it, which leave after their heads.
    for data in after.answers:
        after.send(data)
    assert len(after.faults()) == 3


def test_an_answer_that_left_before_its_head_proves_nothing(pair: Pair) -> None:
    data = pair.sign(1)
    pair.file.unlink()
    pair.send(data)
    head = pair.ledger.head()
    # The same answer again, with a head that already contains it.
    forged = sign_answer(QUESTION, {"egress": vars(head)}, pair.key)
    pair.witness.keep(forged, pair.key.public)
    (fault,) = pair.faults()
    assert "it holds entry 1 (" in fault
    assert "but not the answer" in fault


def test_an_accepted_beginning_counts_from_there_on(after: Pair) -> None:
    after.witness.restart("restored from the backup of May", "ada")
    assert after.witness.newest() is None
    after.file.unlink()
    after.round(4)
    assert after.faults() == []
    told = witnessed_answers(after.witness.read_verified())
    assert [each.counts for each in told] == [False, False, False, True]
    after.file.unlink()
    assert len(after.faults()) == 1


def test_a_head_must_advance(after: Pair) -> None:
    newest = signed_in(after.answers[-1])
    after.witness.require_after(newest, after.sign(4), Head(7, "a" * 64))
    for count in (5, 4, 0):
        with pytest.raises(LedgerTampered, match=rf"from entry 5 \(.*\) to entry {count} "):
            after.witness.require_after(newest, after.sign(5), Head(count, newest.head.sha256))


def test_a_known_answer_may_be_repeated(after: Pair) -> None:
    for data in after.answers:
        after.witness.require_after(after.witness.newest(), data, signed_in(data).head)


def test_the_first_head_may_be_any(pair: Pair) -> None:
    pair.witness.require_after(None, pair.sign(1), EMPTY)
    # It advances even from an empty ledger, because the ledger contains the answer since.
    with pytest.raises(LedgerTampered):
        pair.witness.require_after(SignedHead(EMPTY, "a" * 64), pair.sign(1), EMPTY)


def written(witness: SiloWitness, body: dict[str, Any]) -> None:
    """Write a body into the coordinator's file, in an intact chain."""
    entry = next_entry(witness.read_verified(), body)
    with witness.path.open("ab") as file:
        file.write(entry.line().encode() + b"\n")


@pytest.mark.parametrize("change", ["body", "key", "round", "nothing"])
def test_a_coordinator_cannot_invent_an_answer(after: Pair, change: str, tmp_path: Path) -> None:
    kept = json.loads(json.dumps(dict(after.witness.read_verified()[-1].body)))
    if change == "body":
        kept["answer"]["body"]["egress"]["count"] = 99
    elif change == "key":
        kept["key"] = make_key(Home(tmp_path / "other")).public.public_bytes_raw().hex()
    elif change == "round":
        kept["answer"]["round"] = 9
    written(after.witness, kept)
    if change == "nothing":
        assert len(witnessed_answers(after.witness.read_verified())) == 4
    else:
        with pytest.raises(LedgerTampered, match="entry 4 is the first"):
            witnessed_answers(after.witness.read_verified())


@pytest.mark.parametrize(
    "body", [{"type": "answer"}, {"type": "answer", "answer": 5, "key": "", "at": ""}, {}]
)
def test_a_malformed_answer_is_named(after: Pair, body: dict[str, Any]) -> None:
    written(after.witness, body)
    with pytest.raises(LedgerTampered, match="it is not a signed answer"):
        witnessed_answers(after.witness.read_verified())


def test_an_edit_is_found(after: Pair) -> None:
    after.witness.path.write_bytes(after.witness.path.read_bytes().replace(b'"round":2', b'"round":7', 1))
    with pytest.raises(LedgerTampered, match="The witness was changed: entry 2"):
        after.witness.read_verified()


@pytest.mark.parametrize("name", ["../ash", "/ash", "..", "", "a/b", "Ash", "a\n", "a" * 129])
def test_a_name_that_could_be_a_path_is_refused(tmp_path, name):
    with pytest.raises(InvalidInput, match="is not a valid silo name"):
        SiloWitness(Home(tmp_path), name).restart("a reason", "ada")
    assert list(tmp_path.iterdir()) == []
