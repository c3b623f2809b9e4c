"""The egress ledger: what left a silo, written down before it leaves.

A file of chained lines like the ledger of decisions, in the silo's own folder and for its owner's eyes. It
says at most too much: what could not be sent after all stands in it too, and what was refused stands in it as
refused. The chain finds every edit. That it was cut off or written anew its head finds, which the silo signs
with each answer and the coordinator keeps (`tasks/coordinator/egress_witness.py`).
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
from tasks.messages.signed_head import Signed

LEDGER = "egress ledger"


class Contents:
    """What a ledger holds, to be compared with what was signed about it.

    Args:
        entries: the whole ledger, verified by `chain.verify`.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        # The newest place of each object, because an answer left after the head that it carries.
        self._places = {entry.body["sha256"]: entry.seq for entry in entries if entry.body["type"] == "sent"}

    def why_without(self, signed: Signed) -> str | None:
        """What is wrong with the ledger if this was signed about it; None where it holds head and answer."""
        fault = divergence(self._entries, signed.head)
        if fault is None and self._places.get(signed.answer, 0) <= signed.head.count:
            return f"it holds {signed.head}, but not the answer {signed.answer[:12]} that left with it"
        return fault


class EgressLedger:
    """The record of one silo.

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
    ) -> Entry:
        """An entry says that this leaves now, or was refused, and is on the disk.

        Args:
            what: kind of object, such as "client_update" or "evaluate".
            job_id, round: what it is part of.
            bytes: its size.
            sha256: of its bytes.
            fields: names of the arrays and figures in it.
            treatment: names of the postprocessors that changed it, or "none".
            to: where it goes.
            refused: why it does not leave; empty where it does.

        Raises:
            JobBusy: others kept writing for too long.
            LedgerTampered: the last line is not an entry.
        """
        body = {
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
        with self._file.locked():
            return self._file.append(body)

    def read(self) -> LedgerFile:
        """The entries, in order.

        Raises:
            LedgerTampered: a whole line is not an entry.
        """
        return self._file.read()

    def read_verified(self) -> LedgerFile:
        """The entries, each of which follows from the one before.

        Raises:
            LedgerTampered: names the first entry that does not.
        """
        with self._file.locked():
            found = self._file.read()
        chain.verify(found.entries, ledger=LEDGER)
        return found

    def head(self) -> Head:
        """Of everything that left until now.

        Raises:
            LedgerTampered: the last line is not an entry.
        """
        return head_of(self._file.last())

    def require(self, signed: Signed | None) -> None:
        """Nothing happens where the ledger holds what it held when the silo signed this, if it ever did.

        Raises:
            LedgerTampered: it does not, or an entry does not follow from the one before.
        """
        contents = Contents(self.read_verified().entries)
        fault = contents.why_without(signed) if signed else None
        if fault:
            raise LedgerTampered(
                f"This silo's {LEDGER} was cut off or replaced: {fault}.",
                next_step="Put the file egress.jsonl back as it was. If it is lost, tell the coordinator, "
                "who accepts a new beginning with fedrec witness NAME --restart REASON.",
                fault=fault,
            )


def read_ledger(path: Path) -> list[Entry]:
    """The entries of a ledger's file, or of a copy of it, each of which follows from the one before.

    Raises:
        LedgerTampered: names the first that does not.
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

    def add(self, body: Mapping[str, Any]) -> None:
        self.objects[body["to"], body["sha256"]] = body["bytes"]
        self.sendings += 1
        self.fields |= dict.fromkeys(body["fields"])
        self.treatments |= dict.fromkeys([body["treatment"]])
        self.last_at = body["at"]


def summarise(entries: Iterable[Entry], job_id: str | None = None) -> dict[str, Any]:
    """What left, by job, round and kind; what was refused; and the totals, as JSON values.

    Args:
        entries: of the ledger.
        job_id: of the only job to count; None for all.

    Returns:
        `sent`: for each job, round and kind the objects (one that was sent again, after a crash, counts
        once), their bytes, the sendings, names of fields, treatments, and the time of the last; `refused`:
        the entries' bodies; `objects`, `bytes` and `sendings`: over everything that was sent.
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
        }
        for (job, round_, what), one in sums.items()
    ]
    totals = {name: sum(row[name] for row in sent) for name in ("objects", "bytes", "sendings")}
    return {"sent": sent, "refused": refused, **totals}
