"""The exchange as a silo has it: nothing leaves that the policy does not allow or the ledger does not hold.

What leaves is described from its own bytes, never from what the caller says about it, so that no code in the
silo can send something else by calling it an update.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from models.errors import CorruptArtifact, EgressRefused, ForgedAnswer
from models.federation.envelope import read_envelope
from tasks.exchange.codec import decode, decode_update
from tasks.exchange.layout import silo_folder
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.silos.egress_ledger import EgressLedger

UPDATE = "client_update"
UNKNOWN = "unknown"
# Kind of object, or of signed answer -> the word that a policy has for it.
POLICY_WORDS = {
    "check": "check",
    UPDATE: "update",
    "train": "update",
    "update": "update",
    "evaluate": "evaluation",
    "compare": "evaluation",
    "evaluation": "evaluation",
}


class Policy(Protocol):
    """What a silo's owner lets out."""

    @property
    def may_leave(self) -> Collection[str]:
        """Any of "check", "update" and "evaluation"."""

    @property
    def max_update_bytes(self) -> int:
        """The size of the largest object that may leave."""


@dataclass(frozen=True)
class Border:
    """Where a silo's work for one order may go to, and by which rules.

    Attributes:
        ledger: the silo's.
        policy: its owner's.
        silo: its name; it writes below `silos/<silo>/` only.
        job_id, round: what the order is part of.
        treatment: names of the postprocessors that changed an update, or "none".
    """

    ledger: EgressLedger
    policy: Policy
    silo: str
    job_id: str
    round: int
    treatment: str = "none"

    @property
    def prefix(self) -> str:
        """The only folder of the exchange that the silo writes to."""
        return silo_folder(self.silo)

    def let_out(self, folder: str, data: bytes) -> None:
        """The ledger says that these bytes leave now.

        Raises:
            EgressRefused: they must not; the ledger says so too.
        """
        kind, fields = describe(data)
        fault = self._fault(kind, folder, len(data))
        self.ledger.record(
            what=kind,
            job_id=self.job_id,
            round=self.round,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            fields=fields,
            treatment=self.treatment if kind == UPDATE else "none",
            to=folder,
            refused=fault,
        )
        if fault:
            raise EgressRefused(
                f"Silo {self.silo!r} does not let out an object of kind {kind!r} and {len(data)} bytes to "
                f"{folder} (job {self.job_id}, round {self.round}): {fault}.",
                next_step="What may leave stands in the silo's settings; fedrec silo egress shows what left.",
                silo=self.silo,
                kind=kind,
                reason=fault,
            )

    def _fault(self, kind: str, folder: str, size: int) -> str:
        if not within(self.prefix, folder):
            return f"it writes below {self.prefix} only"
        word = POLICY_WORDS.get(kind)
        if word is None:
            return "it is neither an update nor a signed answer of a known kind"
        if word not in self.policy.may_leave:
            return f"{word!r} is not among what may leave ({', '.join(self.policy.may_leave) or 'nothing'})"
        if size > self.policy.max_update_bytes:
            return f"at most {self.policy.max_update_bytes} bytes may leave at once"
        return ""


class GuardedExchange(Exchange):
    """An exchange through which a silo answers one order.

    Args:
        url: of the root folder.
        border: the silo's.
    """

    def __init__(self, url: str, border: Border) -> None:
        super().__init__(url)
        self.border = border

    def put(self, folder: str, data: bytes) -> ArtifactRef:
        """`data` is stored below `folder`, and stood in the ledger before it left.

        Raises:
            EgressRefused: the policy does not allow it; nothing left.
        """
        self.border.let_out(folder, data)
        return super().put(folder, data)

    def remove(self, folder: str) -> None:
        """Nothing is left below `folder`, which is the silo's own.

        Raises:
            EgressRefused: it is not.
        """
        if not within(self.border.prefix, folder):
            raise EgressRefused(
                f"Silo {self.border.silo!r} removes nothing outside {self.border.prefix}, and not {folder}.",
                silo=self.border.silo,
            )
        super().remove(folder)


def within(prefix: str, folder: str) -> bool:
    """Whether `folder` lies below `prefix`, with no way out of it."""
    parts = folder.split("/")
    return folder.startswith(f"{prefix}/") and not {"", ".", ".."} & set(parts)


def describe(data: bytes) -> tuple[str, list[str]]:
    """(kind, names of the arrays and figures) of an object, by its bytes.

    The kind is "client_update" for an update of exactly the item arrays, the question's for a signed answer,
    and "unknown" for all else.
    """
    with suppress(CorruptArtifact):
        arrays, facts = decode(data, "An object")
        return _kind_of_arrays(data), [*sorted(arrays), *_names(facts)]
    with suppress(ForgedAnswer):
        envelope, _ = read_envelope(data, "")
        return envelope.question.kind, list(_names(envelope.body))
    return UNKNOWN, []


def _kind_of_arrays(data: bytes) -> str:
    # An update with an array too many, such as users' embeddings, is none.
    with suppress(CorruptArtifact):
        decode_update(data)
        return UPDATE
    return UNKNOWN


def _names(value: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _names(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
