"""The decision ledger: an append-only file of chained lines, mirrored in MLflow.

Each line is one entry of `models.ledger.chain`. MLflow remembers the hash of each model's last entry
(`tasks.promotion.ledger_heads`), because a chain alone does not show that its tail was cut off. So the
ledger reveals tampering by anyone who can write to one of the two places. It does not protect against someone
who can write to both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import LedgerTampered
from models.ledger import chain
from models.ledger.chain import Entry
from models.promotion.champions import LEDGER, champions
from tasks.local.chained_file import ChainedFile, LedgerFile
from tasks.local.home import Home
from tasks.promotion.ledger_heads import heads, remember

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOCK_TIMEOUT_S = 30.0


def locked(home: Home, timeout_s: float = _LOCK_TIMEOUT_S) -> AbstractContextManager[None]:
    """Prevent other processes from promoting or rolling back while the block runs.

    Raises:
        JobBusy: another process held the lock for longer than `timeout_s` seconds.
    """
    return _file(home).locked(timeout_s)


def read(home: Home) -> LedgerFile:
    """Return the ledger's entries. A missing file has no entries.

    Raises:
        LedgerTampered: a complete line is not an entry.
    """
    return _file(home).read()


def read_verified(home: Home, client: MlflowClient, model_name: str | None = None) -> LedgerFile:
    """Return the ledger's entries after every check that `verify` makes.

    Args:
        home: contains the ledger.
        client: the registry.
        model_name: the only model whose last entry is compared with MLflow's; None for all models.
    """
    # MLflow is read first: a command that appends in the meantime then only makes the file longer.
    mirrored = heads(client, model_name)
    found = read(home)
    verify(found.entries, mirrored)
    return found


@dataclass
class LedgerReader:
    """Reads the ledger of a home, and verifies it only after it has changed.

    A publisher reads it every few seconds for years, and the ledger grows.
    """

    home: Home
    _seen: tuple[str, int, int] | None = None
    _entries: list[Entry] = field(default_factory=list)

    def verified(self, client: MlflowClient, model_name: str) -> list[Entry]:
        """Return the entries, verified as `read_verified` does for one model."""
        stat = self.home.ledger.stat()
        found = (model_name, stat.st_mtime_ns, stat.st_size)
        if found != self._seen:
            self._entries = read_verified(self.home, client, model_name).entries
            self._seen = found
        return self._entries


def read_copy(path: Path) -> LedgerFile:
    """Return the entries of a copy of a ledger, after checking that each follows from the last.

    Raises:
        LedgerTampered: an entry is invalid.
    """
    found = ChainedFile(path, ledger=LEDGER).read()
    verify(found.entries, {})
    return found


def verify(entries: list[Entry], mirrored: Mapping[str, str]) -> None:
    """Raise `LedgerTampered` unless the chain is intact and complete, and every champion has a decision.

    Args:
        entries: the whole ledger.
        mirrored: model name -> its last entry according to MLflow, "seq:hash".

    Raises:
        LedgerTampered: an entry is invalid or missing. The message names the first one of each model.
    """
    chain.verify(entries, ledger=LEDGER)
    # Each model is checked, so that a fault about one hides no fault about another.
    faults = []
    for model_name in sorted({entry.body["model_name"] for entry in entries} | mirrored.keys()):
        try:
            champions(entries, model_name)
            if model_name in mirrored:
                _require_head(entries, model_name, mirrored[model_name])
        except LedgerTampered as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise LedgerTampered(
            " ".join(fault.what for fault in faults),
            next_step="Restore the ledger file from a copy, and ask who could write to it.",
            position=min(fault.facts["position"] for fault in faults),
        )


def _require_head(entries: Sequence[Entry], model_name: str, head: str) -> None:
    """Raise `LedgerTampered` unless the entries have this one, the model's last one according to MLflow."""
    seq, _, digest = head.partition(":")
    position = int(seq) if seq.isdecimal() else 0
    if not 1 <= position <= len(entries) or entries[position - 1].hash != digest:
        raise LedgerTampered(
            f"The decision ledger has {len(entries)} entries, but MLflow remembers entry {seq} "
            f"with hash {digest[:12]} as the last one about {model_name!r}; it was cut off or replaced.",
            next_step="Restore the ledger file from a copy, and ask who could write to it.",
            position=min(position, len(entries) + 1),
            model_name=model_name,
        )


def append(home: Home, client: MlflowClient, body: Mapping[str, Any]) -> Entry:
    """Append the body to the ledger on disk, and store the entry's hash in MLflow.

    Call this only within `locked`. An incomplete last line is first moved to `torn.log` beside the ledger:
    the command that wrote it stopped before it moved an alias.
    """
    home.ledger.parent.mkdir(parents=True, exist_ok=True)
    entry = _file(home).append(body)
    remember(home, client, entry)
    return entry


def _file(home: Home) -> ChainedFile:
    return ChainedFile(home.ledger, ledger=LEDGER, writer="promotion or rollback")
