"""The witness of a silo's egress ledger: the heads that the silo signed, kept by the coordinator.

A silo's owner could truncate or rewrite the ledger, and its chain would not reveal it. But each answer
carries the head that the ledger had just before the answer left. The coordinator keeps the whole answers, in
one chained file per silo. A ledger that was changed later lacks a head that its silo signed, or the answer
that carried it. The coordinator cannot forge such a head, because it cannot sign for the silo.
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
from models.federation.envelope import AnswerContext, read_envelope
from models.ledger import chain
from models.ledger.chain import Entry
from models.ledger.head import Head
from tasks.coordinator.trust_store import require_silo_name
from tasks.local.chained_file import ChainedFile
from tasks.local.home import Home
from tasks.messages.signed_head import SignedHead
from tasks.silos.egress_ledger import LedgerContents
from tasks.silos.keys import key_id, verify

WITNESS = "witness"


@dataclass(frozen=True)
class WitnessedAnswer:
    """An answer in which a silo signed a head of its egress ledger.

    Attributes:
        context: the silo, step, job, round and base model of the answer.
        signed: the head, and the answer that carried it.
        signed_at: time of signing, by the silo's clock.
        at: time of keeping, by the coordinator's clock.
        key_id: of the key that signed.
        counts: whether the ledger must still hold the head; false if a new ledger was accepted since.
    """

    context: AnswerContext
    signed: SignedHead
    signed_at: str
    at: str
    key_id: str
    counts: bool

    def as_json(self) -> dict[str, Any]:
        """Return the answer as one flat row of JSON values."""
        rest = {name: value for name, value in vars(self).items() if name not in ("context", "signed")}
        return {**vars(self.context), **self.signed.as_json(), **rest}


@dataclass(frozen=True)
class SiloWitness:
    """The kept answers of one silo.

    Attributes:
        home: of the coordinator; the file is `FEDREC_HOME/witness/<silo>.jsonl`.
        silo: its name.
    """

    home: Home
    silo: str

    @property
    def path(self) -> Path:
        """Path of the file; the silo's owner may have a copy."""
        require_silo_name(self.silo)
        return self.home.root / "witness" / f"{self.silo}.jsonl"

    def newest(self) -> SignedHead | None:
        """Return the newest signed head, which the silo's next order names.

        It is None if the silo never answered or its new ledger was just accepted.

        Raises:
            LedgerTampered: the last line is not an entry.
        """
        last = self._file().last()
        return None if last is None or last.body["type"] == "restart" else _signed(last)

    def require_after(self, known: SignedHead | None, answer: bytes, head: Head) -> None:
        """Raise `LedgerTampered` unless the answer's head continues the ledger that the coordinator knew.

        The ledger also contains the previous answer, so a new head counts more entries than the known one. An
        answer from before the order, such as from before a crash of the coordinator, is accepted if it was
        kept.

        Args:
            known: the newest signed head at the time of the order; None if there was none.
            answer: as the silo signed it.
            head: the head in that answer.

        Raises:
            LedgerTampered: the head went backwards.
        """
        if known is None or head.count > known.head.count or self._holds(answer):
            return
        raise LedgerTampered(
            f"The egress ledger of silo {self.silo!r} was truncated or replaced: its head went from "
            f"{known.head} to {head}.",
            next_step="Contact the silo's owner. If the ledger is lost, accept a new one with "
            f"fedrec witness {self.silo} --restart REASON.",
            silo=self.silo,
            known=known.head,
            head=head,
        )

    def keep(self, answer: bytes, public: Ed25519PublicKey) -> None:
        """Append an answer that was verified with this key; it becomes the newest."""
        self._append({"type": "answer", "answer": json.loads(answer), "key": public.public_bytes_raw().hex()})

    def restart(self, reason: str, actor: str) -> None:
        """Accept a new ledger, which need not hold the heads that the silo has signed so far."""
        self._append({"type": "restart", "reason": reason, "actor": actor})

    def read_verified(self) -> list[Entry]:
        """Return the entries after verifying that each follows from the one before.

        Raises:
            LedgerTampered: an entry does not follow; the message names the first one.
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


def witnesses(home: Home) -> list[SiloWitness]:
    """Return the witnesses of all silos that ever answered, sorted by name."""
    return [SiloWitness(home, path.stem) for path in sorted((home.root / "witness").glob("*.jsonl"))]


def read_witness(path: Path) -> list[Entry]:
    """Return the verified entries of a witness file or a copy of it.

    Raises:
        NotFound: there is no such file.
        LedgerTampered: an entry does not follow from the one before.
    """
    if not path.is_file():
        raise NotFound(
            f"The witness file {path} does not exist.",
            next_step="Get FEDREC_HOME/witness/NAME.jsonl from the coordinator.",
        )
    entries = _chained(path).read().entries
    chain.verify(entries, ledger=WITNESS)
    return entries


def witnessed_answers(entries: Sequence[Entry]) -> list[WitnessedAnswer]:
    """Return the silo's signed answers, in the order in which the coordinator received them.

    Raises:
        LedgerTampered: a signature is not by the entry's key.
    """
    restarts = [entry.seq for entry in entries if entry.body.get("type") == "restart"]
    newest_restart = max(restarts, default=0)
    return [
        _witnessed(entry, counts=entry.seq > newest_restart)
        for entry in entries
        if entry.body.get("type") != "restart"
    ]


def faults_of(ledger: Sequence[Entry], answers: Iterable[WitnessedAnswer]) -> Iterator[str]:
    """Yield one line for each signed head that the silo's ledger should hold but does not.

    Args:
        ledger: the whole ledger, verified by `chain.verify`.
        answers: what the silo signed.
    """
    contents = LedgerContents(ledger)
    for each in answers:
        fault = contents.fault_against(each.signed) if each.counts else None
        if fault:
            context = each.context
            yield f"{context.kind!r} of round {context.round}, job {context.job_id}: {fault}"


def require_witnessed(ledger: Sequence[Entry], answers: Iterable[WitnessedAnswer], silo: str) -> None:
    """Raise `LedgerTampered` unless the ledger holds everything that its silo signed about it.

    Raises:
        LedgerTampered: it does not; the message contains the first fault and `faults` contains all.
    """
    faults = list(faults_of(ledger, answers))
    if faults:
        raise LedgerTampered(
            f"The egress ledger of silo {silo!r} is not the one whose heads it signed. {len(faults)} of its "
            f"signed answers contradict it; the first is to {faults[0]}.",
            next_step="Find out who could write to the silo's egress.jsonl, and restore it from a backup.",
            silo=silo,
            faults=faults,
        )


def _chained(path: Path) -> ChainedFile:
    return ChainedFile(path, ledger=WITNESS, writer="coordinator", torn_log=f"{path.stem}.torn.log")


def _signed(entry: Entry) -> SignedHead:
    answer = entry.body["answer"]
    sha256 = hashlib.sha256(chain.canonical(answer).encode()).hexdigest()
    return SignedHead(Head.of_json(answer["body"]["egress"]), sha256)


def _witnessed(entry: Entry, *, counts: bool) -> WitnessedAnswer:
    try:
        answer = chain.canonical(entry.body["answer"]).encode()
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(entry.body["key"]))
        envelope, signature = read_envelope(answer, str(entry.body["answer"]["silo"]))
        if not verify(public, signature, envelope.to_sign()):
            raise ValueError("its key did not make its signature")
        return WitnessedAnswer(
            context=envelope.context,
            signed=_signed(entry),
            signed_at=envelope.signed_at,
            at=str(entry.body["at"]),
            key_id=key_id(public),
            counts=counts,
        )
    except (FedrecError, ValueError, KeyError, TypeError) as error:
        raise chain.tampered(WITNESS, entry.seq, f"it is not a signed answer: {error}") from error
