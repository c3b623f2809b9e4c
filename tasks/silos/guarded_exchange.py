"""The exchange as a silo uses it: only objects leave that the policy allows and the ledger has recorded.

An object is classified by its own bytes, never by the caller's claim, so that no code in the silo can send
other data by calling it an update.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from models.errors import CorruptArtifact, EgressRefused, ForgedAnswer
from models.federation.envelope import read_envelope
from models.privacy.guarantee import MECHANISM
from tasks.exchange.codec import decode_masked, decode_packed, decode_update
from tasks.exchange.layout import silo_folder
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.silos.egress_ledger import EgressLedger

UPDATE = "client_update"
MASKED = "masked_update"
UNKNOWN = "unknown"
# Kind of object or signed answer -> the policy's word for it.
POLICY_WORDS = {
    "check": "check",
    UPDATE: "update",
    MASKED: "update",
    # The protocol of secure sums, which tells nothing of the data.
    "announce": "update",
    "prepare": "update",
    "agree": "update",
    "reveal": "update",
    "train": "update",
    "update": "update",
    "evaluate": "evaluation",
    "compare": "evaluation",
    "evaluation": "evaluation",
}
# Answers with figures, and those with what only other members, or all of them together, can open.
_FIGURES, _SEALED = ("evaluate", "compare"), ("prepare", "agree")


class Policy(Protocol):
    """The owner's rules about what may leave a silo."""

    @property
    def may_leave(self) -> Collection[str]:
        """The kinds that may leave: any of "check", "update" and "evaluation"."""

    @property
    def max_update_bytes(self) -> int:
        """The size of the largest object that may leave."""


@dataclass(frozen=True)
class Border:
    """Checks and records each object of one order before it leaves the silo.

    Attributes:
        ledger: of the silo.
        policy: of its owner.
        silo: its name; it writes only below `silos/<silo>/`.
        job_id, round: the order's job and round.
        changes: names of the postprocessors that change an update.
        members: number of members of the order's secure sum; 0 without one.
        privacy: of a job with noise, returns what the ledger says about it.
    """

    ledger: EgressLedger
    policy: Policy
    silo: str
    job_id: str
    round: int
    changes: tuple[str, ...] = ()
    members: int = 0
    privacy: Callable[[], Mapping[str, float]] | None = None

    @property
    def prefix(self) -> str:
        """The only folder of the exchange that the silo writes to."""
        return silo_folder(self.silo)

    def record_egress(self, folder: str, data: bytes) -> None:
        """Record in the ledger that these bytes leave now.

        Raises:
            EgressRefused: the policy does not allow it; the ledger records the refusal.
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
            treatment=self._treatment(kind, fields),
            to=folder,
            refused=fault,
            privacy=self.privacy() if self.privacy and self._has_noise(kind) else None,
        )
        if fault:
            raise EgressRefused(
                f"Silo {self.silo!r} does not send an object of kind {kind!r} and {len(data)} bytes to "
                f"{folder} (job {self.job_id}, round {self.round}): {fault}.",
                next_step="The section policy of the silo's settings says what may leave; fedrec silo egress "
                "shows what left.",
                silo=self.silo,
                kind=kind,
                reason=fault,
                is_recorded=True,
            )

    def _treatment(self, kind: str, fields: list[str]) -> str:
        """Return what changed an object, and who can read it: masked, sealed or readable."""
        words = [*self.changes] if kind in (UPDATE, MASKED) else []
        if self.privacy is not None and self._has_noise(kind):
            words.append(f"{MECHANISM} noise")
        is_summand = _step(kind) in _FIGURES and any(each.startswith("messages.") for each in fields)
        if kind == MASKED or is_summand:
            words.append(f"masked among {self.members} members")
            if any(each.startswith("published.") for each in fields):
                words.append("published.* readable")
        else:
            words.append("sealed" if _step(kind) in _SEALED else "readable")
        return ", ".join(words)

    def _has_noise(self, kind: str) -> bool:
        return kind in (UPDATE, MASKED) or _step(kind) in _FIGURES

    def _fault(self, kind: str, folder: str, size: int) -> str:
        if not within(self.prefix, folder):
            return f"it writes only below {self.prefix}"
        word = POLICY_WORDS.get(_step(kind))
        if word is None:
            return "it is neither an update nor a signed answer of a known kind"
        if word not in self.policy.may_leave:
            return f"policy.may_leave ({', '.join(self.policy.may_leave) or 'empty'}) lacks {word!r}"
        if size > self.policy.max_update_bytes:
            return f"policy.max_update_bytes allows {self.policy.max_update_bytes} bytes"
        return ""


def _step(kind: str) -> str:
    # Answers of secure sums have the digest of their request behind the step.
    return kind.split("-", maxsplit=1)[0]


class GuardedExchange(Exchange):
    """An exchange through which a silo answers one order.

    Args:
        url: of the root folder.
        border: checks and records what leaves.

    Attributes:
        left: what was stored, in order.
    """

    def __init__(self, url: str, border: Border) -> None:
        super().__init__(url)
        self.border = border
        self.left: list[ArtifactRef] = []

    def put(self, folder: str, data: bytes, sha256: str | None = None) -> ArtifactRef:
        """Record `data` in the ledger, then store it in `folder`.

        Raises:
            EgressRefused: the policy does not allow it; nothing left.
        """
        self.border.record_egress(folder, data)
        ref = super().put(folder, data, sha256)
        self.left.append(ref)
        return ref

    def remove(self, folder: str) -> bool:
        """Delete everything in `folder`, and return whether there was something.

        Raises:
            EgressRefused: the folder is not the silo's own.
        """
        if not within(self.border.prefix, folder):
            raise EgressRefused(
                f"Silo {self.border.silo!r} may not remove {folder}, which is outside {self.border.prefix}.",
                silo=self.border.silo,
            )
        return super().remove(folder)


def within(prefix: str, folder: str) -> bool:
    """Return whether `folder` is below `prefix` and has no part such as `..` that leads out of it."""
    parts = folder.split("/")
    return folder.startswith(f"{prefix}/") and not {"", ".", ".."} & set(parts)


def describe(data: bytes) -> tuple[str, list[str]]:
    """Return (kind, names of the arrays and figures) of an object, judged by its bytes.

    The kind is "client_update" for an update of exactly the expected arrays, "masked_update" for one in a
    secure sum, the step for a signed answer, and "unknown" for everything else.
    """
    with suppress(CorruptArtifact):
        arrays, facts = decode_packed(data, "An object")
        return _kind_of_arrays(data), [*sorted(arrays), *_names(facts)]
    with suppress(ForgedAnswer):
        envelope, _ = read_envelope(data, "")
        return envelope.context.kind, list(_names(envelope.body))
    return UNKNOWN, []


def _kind_of_arrays(data: bytes) -> str:
    # An update with an additional array, such as users' embeddings, does not count as an update.
    with suppress(CorruptArtifact):
        decode_update(data)
        return UPDATE
    with suppress(CorruptArtifact):
        decode_masked(data)
        return MASKED
    return UNKNOWN


def _names(value: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _names(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
