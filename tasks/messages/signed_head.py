"""What a silo signed about its egress ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.ledger.head import Head
from tasks.messages.record import JsonObject


@dataclass(frozen=True)
class Signed:
    """What a silo signed about its ledger.

    Attributes:
        head: of the ledger before the answer left that carries it.
        answer: SHA-256 of that answer.
    """

    head: Head
    answer: str

    def as_json(self) -> JsonObject:
        """Return what was signed as JSON values."""
        return {**vars(self.head), "answer": self.answer}

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Signed:
        """Return what `as_json` wrote.

        Raises:
            InvalidInput: the value is something else.
        """
        head = {name: inner for name, inner in value.items() if name != "answer"}
        return cls(Head.of_json(head), str(value.get("answer")))
