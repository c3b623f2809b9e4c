"""The witness of a silo's egress ledger: the heads that the silo signed, kept by the coordinator.

A silo's owner could cut the ledger off or write it anew, and no chain would tell. But each answer carries the
head that the ledger had before the answer itself left, and here the whole answers are kept, one chained file
for each silo. A ledger that was changed later lacks a head that its silo signed, or the answer that came with
it; and the coordinator cannot have made that up, because it cannot sign for the silo.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import FedrecError, LedgerTampered, NotFound
from models.federation.envelope import Question, read_envelope
from models.ledger import chain
from models.ledger.chain import Entry
from models.ledger.head import Head
from tasks.local.chained_file import ChainedFile
from tasks.local.home import Home
from tasks.messages.signed_head import Signed
from tasks.silos.egress_ledger import Contents
from tasks.silos.keys import key_id, verify

WITNESS = "witness"


@dataclass(frozen=True)
class Told:
    """What a silo signed about its egress ledger.

    Attributes:
        question: what the silo answered with it.
        signed: the head, and the answer that carried it.
        signed_at: by the silo's clock.
        at: by the coordinator's clock, when it was kept.
        key_id: of the key that signed.
        counts: whether the ledger must still hold it; not where a new beginning was accepted since.
    """

    question: Question
    signed: Signed
    signed_at: str
    at: str
    key_id: str
    counts: bool

    def as_json(self) -> dict[str, Any]:
        """As one flat row of JSON values."""
        rest = {name: value for name, value in vars(self).items() if name not in ("question", "signed")}
        return {**vars(self.question), **self.signed.as_json(), **rest}


@dataclass(frozen=True)
class Witness:
    """The kept answers of one silo.

    Attributes:
        home: of the coordinator; the file is `FEDREC_HOME/witness/<silo>.jsonl`.
        silo: its name.
    """

    home: Home
    silo: str

    @property
    def path(self) -> Path:
        """Of the file, which the silo's owner may have."""
        return self.home.root / "witness" / f"{self.silo}.jsonl"

    def newest(self) -> Signed | None:
        """What the silo's next order names; None where it never answered or begins anew.

        Raises:
            LedgerTampered: the last line is not an entry.
        """
        last = self._file().last()
        return None if last is None or last.body["type"] == "restart" else _signed(last)

    def require_after(self, known: Signed | None, answer: bytes, head: Head) -> None:
        """Nothing happens where an answer may come from the ledger that the coordinator knew when it asked.

        The answer to the order before stands in the ledger too, so the head has moved on from the one in it.
        One that was made before the order, as before a crash of the coordinator, is known already.

        Args:
            known: the newest when the order was given, if there was one.
            answer: as the silo signed it.
            head: the one in it.

        Raises:
            LedgerTampered: the head went backwards.
        """
        if known is None or head.count > known.head.count or self._holds(answer):
            return
        raise LedgerTampered(
            f"The egress ledger of silo {self.silo!r} was cut off or replaced: its head went from "
            f"{known.head} to {head}.",
            next_step="Ask the silo's owner. If the ledger is lost, accept a new beginning with "
            f"fedrec witness {self.silo} --restart REASON.",
            silo=self.silo,
            known=known.head,
            head=head,
        )

    def keep(self, answer: bytes, public: Ed25519PublicKey) -> None:
        """The answer, verified with this key, is the newest."""
        self._append({"type": "answer", "answer": json.loads(answer), "key": public.public_bytes_raw().hex()})

    def restart(self, reason: str, actor: str) -> None:
        """From now on the ledger need not hold what the silo signed until now."""
        self._append({"type": "restart", "reason": reason, "actor": actor})

    def read_verified(self) -> list[Entry]:
        """The entries, each of which follows from the one before.

        Raises:
            LedgerTampered: names the first that does not.
        """
        return read_witness(self.path) if self.path.exists() else []

    def _holds(self, answer: bytes) -> bool:
        return any(entry.body.get("answer") == json.loads(answer) for entry in self._file().read().entries)

    def _append(self, body: dict[str, Any]) -> None:
        file = self._file()
        with file.locked():
            file.append(body | {"at": datetime.now(UTC).isoformat(timespec="seconds")})

    def _file(self) -> ChainedFile:
        return _chained(self.path)


def witnesses(home: Home) -> list[Witness]:
    """Of all silos that ever answered, by name."""
    return [Witness(home, path.stem) for path in sorted((home.root / "witness").glob("*.jsonl"))]


def read_witness(path: Path) -> list[Entry]:
    """The verified entries of a witness's file, or of a copy of it.

    Raises:
        NotFound: there is no such file.
        LedgerTampered: an entry does not follow from the one before.
    """
    if not path.is_file():
        raise NotFound(
            f"There is no witness's file {path}.",
            next_step="The coordinator has it: FEDREC_HOME/witness/NAME.jsonl there.",
        )
    entries = _chained(path).read().entries
    chain.verify(entries, ledger=WITNESS)
    return entries


def told_in(entries: Sequence[Entry]) -> list[Told]:
    """What the silo signed, in the order in which the coordinator had it; every signature is verified.

    Raises:
        LedgerTampered: an entry is not what its key signed.
    """
    restarts = [entry.seq for entry in entries if entry.body.get("type") == "restart"]
    newest_restart = max(restarts, default=0)
    return [
        _told(entry, counts=entry.seq > newest_restart)
        for entry in entries
        if entry.body.get("type") != "restart"
    ]


def faults_of(ledger: Sequence[Entry], told: Iterable[Told]) -> Iterator[str]:
    """Why a silo's ledger is not the one whose heads it signed, one line for each head that it should hold.

    Args:
        ledger: the whole ledger, verified by `chain.verify`.
        told: what the silo signed.
    """
    contents = Contents(ledger)
    for each in told:
        fault = contents.why_without(each.signed) if each.counts else None
        if fault:
            asked = each.question
            yield f"{asked.kind!r} of round {asked.round}, job {asked.job_id}: {fault}"


def require_told(ledger: Sequence[Entry], told: Iterable[Told], silo: str) -> None:
    """Nothing happens where the ledger holds all that its silo signed about it.

    Raises:
        LedgerTampered: it does not; the message has the first and `faults` every fault.
    """
    faults = list(faults_of(ledger, told))
    if faults:
        raise LedgerTampered(
            f"The egress ledger of silo {silo!r} is not the one whose heads it signed. {len(faults)} of its "
            f"answers tell so, the first to {faults[0]}.",
            next_step="Ask who could write to the silo's egress.jsonl, and put back a copy of it.",
            silo=silo,
            faults=faults,
        )


def _chained(path: Path) -> ChainedFile:
    return ChainedFile(path, ledger=WITNESS, writer="coordinator", torn_log=f"{path.stem}.torn.log")


def _signed(entry: Entry) -> Signed:
    answer = entry.body["answer"]
    sha256 = hashlib.sha256(chain.canonical(answer).encode()).hexdigest()
    return Signed(Head.of_json(answer["body"]["egress"]), sha256)


def _told(entry: Entry, *, counts: bool) -> Told:
    try:
        answer = chain.canonical(entry.body["answer"]).encode()
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(entry.body["key"]))
        envelope, signature = read_envelope(answer, str(entry.body["answer"]["silo"]))
        if not verify(public, signature, envelope.to_sign()):
            raise ValueError("its signature is not by its key")
        return Told(
            question=envelope.question,
            signed=_signed(entry),
            signed_at=envelope.signed_at,
            at=str(entry.body["at"]),
            key_id=key_id(public),
            counts=counts,
        )
    except (FedrecError, ValueError, KeyError, TypeError) as error:
        raise chain.tampered(WITNESS, entry.seq, f"it holds no signed answer: {error}") from error
