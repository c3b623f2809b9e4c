"""A signed statement of a silo about its egress ledger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from models.errors import InvalidInput
from models.ledger.head import Head
from tasks.messages.record import JsonObject

_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    def of_json(cls, value: object) -> SignedHead:
        """Return the signed head that `as_json` wrote. The value need not be trusted.

        Raises:
            InvalidInput: the value is not a signed head.
        """
        answer = value.get("answer") if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(answer, str) or not _SHA256.fullmatch(answer):
            raise InvalidInput("A signed head must have the SHA-256 of the answer that contained it.")
        return cls(Head.of_json({name: each for name, each in value.items() if name != "answer"}), answer)
