"""What a member of a secure sum is told beside its order, and what it answers."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from data_contracts.strict_json import read_strictly
from models.errors import InvalidInput
from tasks.messages.record import JsonObject

_TAG_DIGITS = 16
# Members name files by it.
_SUM_ID = re.compile(r"(train|evaluate|compare)-[0-9]{6,9}")
# Some rounds are prepared at once, each of up to three sums.
_MOST_SUMS = 64


@dataclass(frozen=True)
class SumOrder:
    """The part of an order that concerns secure sums.

    Attributes:
        sums: id of each sum -> its members; one sum, except for the step "prepare".
        announcements: member -> the message with its key for the job.
        identities: member -> its public key (32 bytes), for simulated clients. Silos use their own roster.
        request: the coordinator's request to the member; empty for steps that need none.
    """

    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    announcements: Mapping[str, bytes] = field(default_factory=dict)
    identities: Mapping[str, bytes] = field(default_factory=dict)
    request: bytes = b""

    @property
    def one(self) -> tuple[str, tuple[str, ...]]:
        """Return id and members of the only sum.

        Raises:
            InvalidInput: there is another number of sums.
        """
        if len(self.sums) != 1:
            raise InvalidInput(f"The order names {len(self.sums)} secure sums, expected one.")
        return next(iter(self.sums.items()))

    @property
    def tag(self) -> str:
        """Return a short digest of what the member is asked."""
        asked = json.dumps([sorted(self.sums), self.request.hex()])
        return hashlib.sha256(asked.encode()).hexdigest()[:_TAG_DIGITS]

    def to_json(self) -> JsonObject:
        """Return the order as JSON values."""
        return {
            "sums": {name: list(members) for name, members in self.sums.items()},
            "announcements": as_text(self.announcements),
            "identities": as_text(self.identities),
            "request": b64encode(self.request).decode(),
        }

    @classmethod
    def of_json(cls, value: Any) -> SumOrder:
        """Return the order that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: the value is not such an order.
        """
        found = cls(
            {
                read_strictly(str, name): tuple(read_strictly(str, each) for each in members)
                for name, members in value["sums"].items()
            },
            of_text(value["announcements"]),
            of_text(value["identities"]),
            b64decode(value["request"], validate=True),
        )
        if len(found.sums) > _MOST_SUMS:
            raise ValueError(f"{len(found.sums)} secure sums, at most {_MOST_SUMS} are accepted")
        for name, members in found.sums.items():
            found._require_well_formed(name, members)
        return found

    def _require_well_formed(self, name: str, members: tuple[str, ...]) -> None:
        if not _SUM_ID.fullmatch(name):
            raise ValueError(f"{name[:80]!r} is not the id of a secure sum")
        # A member that is listed twice would make a cohort look larger than it is.
        if list(members) != sorted(set(members)):
            raise ValueError(f"the members of sum {name} are not listed once each and sorted")
        unknown = set(members) - set(self.announcements)
        if unknown:
            raise ValueError(
                f"sum {name} has members without announcements: {', '.join(sorted(unknown))[:80]}"
            )


def answer_kind(step: str, sum_order: SumOrder | None) -> str:
    """Return the kind of the answer to a step. For secure sums there may be several of a step and round."""
    return f"{step}-{sum_order.tag}" if sum_order else step


def as_text(messages: Mapping[str, bytes]) -> JsonObject:
    """Return messages as JSON values."""
    return {name: b64encode(data).decode() for name, data in messages.items()}


def of_text(value: Any) -> dict[str, bytes]:
    """Return the messages that `as_text` wrote.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the value is not such messages.
    """
    return {read_strictly(str, name): b64decode(text, validate=True) for name, text in value.items()}
