"""The egress ledger: the record of everything that left a silo, written before it leaves.

It is a file of chained lines, like the ledger of decisions, in the silo's own folder and for its owner. It
may contain too much but never too little: an object whose sending failed is recorded as sent, and a refused
object or step as refused. The chain reveals every edit. To reveal that the file was truncated or replaced,
the silo signs the ledger's head with each answer, and the coordinator keeps it
(`tasks/coordinator/egress_witness.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.errors import LedgerTampered
from models.ledger import chain
from models.ledger.chain import Entry
from models.ledger.head import Head, divergence, head_of
from tasks.local.chained_file import ChainedFile, LedgerFile
from tasks.local.home import Home
from tasks.messages.signed_head import SignedHead

LEDGER = "egress ledger"


class LedgerContents:
    """The entries of a ledger, to compare with the heads that its silo signed.

    Args:
        entries: the whole ledger, verified by `chain.verify`.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        # The newest position of each object: an answer left after the head that it carries.
        self._places = {entry.body["sha256"]: entry.seq for entry in entries if entry.body["type"] == "sent"}

    def fault_against(self, signed: SignedHead) -> str | None:
        """Return why the ledger contradicts what its silo signed, or None if it holds head and answer."""
        fault = divergence(self._entries, signed.head)
        if fault is None and self._places.get(signed.answer, 0) <= signed.head.count:
            return f"it holds {signed.head}, but not the answer {signed.answer[:12]} that carried this head"
        return fault


class EgressLedger:
    """The egress ledger of one silo.

    Args:
        home: of the silo; the file is `FEDREC_HOME/egress.jsonl`.
    """

    def __init__(self, home: Home) -> None:
        self._file = ChainedFile(
            home.root / "egress.jsonl", ledger=LEDGER, writer="step of this silo", torn_log="egress.torn.log"
        )

    def record(
        self,
        *,
        what: str,
        job_id: str,
        round: int,
        bytes: int,
        sha256: str,
        fields: Sequence[str],
        treatment: str = "none",
        to: str = "",
        refused: str = "",
        privacy: Mapping[str, float] | None = None,
    ) -> Entry:
        """Append an entry for an object that leaves now or was refused, and write it to the disk.

        Args:
            what: kind of object, such as "client_update" or "evaluate"; the step, if that was refused.
            job_id, round: the job and round that it belongs to.
            bytes: its size; 0 if a step was refused, so that no object was made.
            sha256: of its bytes; empty without an object.
            fields: names of the arrays and figures in it.
            treatment: names of what changed it, and whether it is masked, sealed or readable; "none" if
                nothing left.
            to: the folder of the exchange that it goes to.
            refused: why it does not leave; empty if it leaves.
            privacy: of an object with noise: the job's noise multiplier, epsilon and delta, and the silo's
                share of the variance.

        Raises:
            JobBusy: another step of this silo held the ledger's lock for too long.
            LedgerTampered: the last line is not an entry.
        """
        body: dict[str, Any] = {
            "type": "refused" if refused else "sent",
            "what": what,
            "job_id": job_id,
            "round": round,
            "bytes": bytes,
            "sha256": sha256,
            "fields": list(fields),
            "treatment": treatment,
            "to": to,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if refused:
            body["reason"] = refused
        if privacy is not None:
            body["privacy"] = dict(privacy)
        with self._file.locked():
            return self._file.append(body)

    def read(self) -> LedgerFile:
        """Return the entries, in order.

        Raises:
            LedgerTampered: a whole line is not an entry.
        """
        return self._file.read()

    def read_verified(self) -> LedgerFile:
        """Return the entries after verifying that each follows from the one before.

        Raises:
            LedgerTampered: an entry does not follow; the message names the first one.
        """
        with self._file.locked():
            found = self._file.read()
        chain.verify(found.entries, ledger=LEDGER)
        return found

    def head(self) -> Head:
        """Return the ledger's head, which covers everything that has left so far.

        Raises:
            LedgerTampered: the last line is not an entry.
        """
        return head_of(self._file.last())

    def require(self, signed: SignedHead | None) -> None:
        """Raise `LedgerTampered` unless the ledger still holds the head and answer that the silo signed.

        Args:
            signed: the newest that the coordinator has; None if there is none yet.

        Raises:
            LedgerTampered: they are missing, or an entry does not follow from the one before.
        """
        contents = LedgerContents(self.read_verified().entries)
        fault = contents.fault_against(signed) if signed else None
        if fault:
            raise LedgerTampered(
                f"This silo's {LEDGER} was truncated or replaced: {fault}.",
                next_step="Restore the file egress.jsonl. If it is lost, inform the coordinator, who accepts "
                "a new ledger with fedrec witness NAME --restart REASON.",
                fault=fault,
            )


def read_ledger(path: Path) -> list[Entry]:
    """Return the entries of a ledger's file or a copy of it, after verifying that each follows from the last.

    Raises:
        LedgerTampered: an entry does not follow; the message names the first one.
    """
    entries = ChainedFile(path, ledger=LEDGER).read().entries
    chain.verify(entries, ledger=LEDGER)
    return entries


@dataclass
class _Sum:
    objects: dict[tuple[str, str], int] = field(default_factory=dict)
    sendings: int = 0
    fields: dict[str, None] = field(default_factory=dict)
    treatments: dict[str, None] = field(default_factory=dict)
    last_at: str = ""
    privacy: Mapping[str, float] | None = None

    def add(self, body: Mapping[str, Any]) -> None:
        self.objects[body["to"], body["sha256"]] = body["bytes"]
        self.sendings += 1
        self.fields |= dict.fromkeys(body["fields"])
        self.treatments |= dict.fromkeys([body["treatment"]])
        self.last_at = body["at"]
        self.privacy = body.get("privacy", self.privacy)


def summarise(entries: Iterable[Entry], job_id: str | None = None) -> dict[str, Any]:
    """Return what left by job, round and kind, what was refused, and the totals, as JSON values.

    Args:
        entries: of the ledger.
        job_id: the only job to count; None for all.

    Returns:
        `sent`: one row for each job, round and kind, with the number of objects (one that was sent again
        after a crash counts once), their bytes, the number of sendings, names of fields, treatments, the time
        of the last sending, and of objects with noise what the ledger says of it. `refused`: the bodies of
        those entries. `objects`, `bytes` and `sendings`: totals over everything that was sent.
    """
    sums: dict[tuple[str, int, str], _Sum] = {}
    refused: list[dict[str, Any]] = []
    for entry in entries:
        body = entry.body
        if job_id is not None and body["job_id"] != job_id:
            continue
        if body["type"] == "refused":
            refused.append(dict(body))
        else:
            sums.setdefault((body["job_id"], body["round"], body["what"]), _Sum()).add(body)
    sent: list[dict[str, Any]] = [
        {
            "job_id": job,
            "round": round_,
            "what": what,
            "objects": len(one.objects),
            "bytes": sum(one.objects.values()),
            "sendings": one.sendings,
            "fields": list(one.fields),
            "treatments": list(one.treatments),
            "last_at": one.last_at,
            **({"privacy": dict(one.privacy)} if one.privacy else {}),
        }
        for (job, round_, what), one in sums.items()
    ]
    totals = {name: sum(row[name] for row in sent) for name in ("objects", "bytes", "sendings")}
    return {"sent": sent, "refused": refused, **totals}
