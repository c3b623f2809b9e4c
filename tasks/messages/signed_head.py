"""A signed statement of a silo about its egress ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.ledger.head import Head
from tasks.messages.record import JsonObject


@dataclass(frozen=True)
class SignedHead:
    """A head of a silo's egress ledger, and the signed answer that contained it.

    Attributes:
        head: head of the ledger just before that answer left the silo.
        answer: SHA-256 of the answer.
    """

    head: Head
    answer: str

    def as_json(self) -> JsonObject:
        """Return the head and the answer as JSON values."""
        return {**vars(self.head), "answer": self.answer}

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> SignedHead:
        """Return the signed head that `as_json` wrote.

        Raises:
            InvalidInput: the value is not a signed head.
        """
        head = {name: inner for name, inner in value.items() if name != "answer"}
        return cls(Head.of_json(head), str(value.get("answer")))
