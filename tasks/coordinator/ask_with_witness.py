"""Compares the heads that silos sign about their egress ledgers with the kept ones, and keeps the new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.ledger.head import Head
from tasks.coordinator.egress_witness import SiloWitness
from tasks.coordinator.trust_store import TrustStore
from tasks.messages.answers import Answer, Delivery
from tasks.messages.signed_head import SignedHead


@dataclass
class EgressWitnesses:
    """The witness files of all silos of one coordinator, used while it sends orders and reads answers.

    Attributes:
        trust: the silos' public keys; the witness files are in the same home.
    """

    trust: TrustStore
    _known: dict[str, SignedHead | None] = field(default_factory=dict)
    _to_keep: dict[str, tuple[bytes, Ed25519PublicKey]] = field(default_factory=dict)

    def order_arguments(self, silo: str) -> dict[str, Any]:
        """Return the argument of the silo's next order that names its newest signed head.

        It is empty if the silo has not signed a head yet.

        Raises:
            LedgerTampered: the witness file was changed.
        """
        self._known[silo] = known = self._of(silo).newest()
        return {"witnessed": known.as_json()} if known else {}

    def accept(self, silo: str, data: bytes, body: Mapping[str, Any], answer: Answer) -> Answer:
        """Check the head in an answer, and return the answer; a `Delivery` is returned with the head.

        Args:
            silo: the silo that answered.
            data: the answer as it was signed; the next `keep` stores it.
            body: of the answer.
            answer: the parsed answer.

        Raises:
            LedgerTampered: the head went backwards since the order.
            InvalidInput: the answer has no head.
        """
        head, known = Head.of_json(body.get("egress")), self._known.get(silo)
        self._of(silo).require_after(known, data, head)
        if known is None or head.count > known.head.count:
            self._to_keep[silo] = data, self.trust.key_of(silo)
        return replace(answer, egress=head) if isinstance(answer, Delivery) else answer

    def keep(self) -> None:
        """Write the accepted answers to the witness files."""
        for silo, (data, public) in self._to_keep.items():
            self._of(silo).keep(data, public)
        self._to_keep.clear()

    def _of(self, silo: str) -> SiloWitness:
        return SiloWitness(self.trust.home, silo)
