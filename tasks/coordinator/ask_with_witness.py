"""Silos asked before a witness: what they sign of their egress ledgers is compared, and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.ledger.head import Head
from tasks.coordinator.egress_witness import Witness
from tasks.coordinator.trust_store import TrustStore
from tasks.messages.answers import Answer, Delivery
from tasks.messages.signed_head import Signed


@dataclass
class Witnessing:
    """The witnesses of all silos that one coordinator asks.

    Attributes:
        trust: the silos' public keys; the witnesses lie in the same home.
    """

    trust: TrustStore
    _known: dict[str, Signed | None] = field(default_factory=dict)
    _to_keep: dict[str, tuple[bytes, Ed25519PublicKey]] = field(default_factory=dict)

    def asking(self, silo: str) -> dict[str, Any]:
        """What the silo's order says of what it signed last; nothing where it has signed nothing yet.

        Raises:
            LedgerTampered: the witness was changed.
        """
        self._known[silo] = known = self._of(silo).newest()
        return {"witnessed": known.as_json()} if known else {}

    def heard(self, silo: str, data: bytes, body: Mapping[str, Any], answer: Answer) -> Answer:
        """The answer, with the head of the silo's egress ledger where it stands with a round.

        Args:
            silo: whose.
            data: the answer as it was signed; it is kept by the next `keep`.
            body: of it.
            answer: what it says.

        Raises:
            LedgerTampered: the head went backwards since the silo was asked.
            InvalidInput: there is no head.
        """
        head, known = Head.of_json(body.get("egress")), self._known.get(silo)
        self._of(silo).require_after(known, data, head)
        if known is None or head.count > known.head.count:
            self._to_keep[silo] = data, self.trust.key_of(silo)
        return replace(answer, egress=head) if isinstance(answer, Delivery) else answer

    def keep(self) -> None:
        """What was heard is with the witnesses."""
        for silo, (data, public) in self._to_keep.items():
            self._of(silo).keep(data, public)
        self._to_keep.clear()

    def _of(self, silo: str) -> Witness:
        return Witness(self.trust.home, silo)
