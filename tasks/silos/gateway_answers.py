"""What a gateway's answers say, read strictly. A signed answer may be odd, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from data_contracts.strict_json import read_strictly
from models.errors import ForgedAnswer
from models.kernel.json_values import read_json
from tasks.exchange.store import ArtifactRef
from tasks.messages.steps import StepOrder
from tasks.silos.promotion import Promotion

_ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,100}")
_LONGEST_DETAIL = 1000
_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Ordered:
    """An order from the gateway.

    Attributes:
        id: names it to the gateway.
        body: the order, which may be one that this version cannot read.
    """

    id: str
    body: Mapping[str, Any]

    @property
    def step_order(self) -> StepOrder:
        """Return the order.

        Raises:
            InvalidInput: this version cannot read it.
        """
        return StepOrder.of_json(self.body)

    @property
    def objects(self) -> tuple[ArtifactRef, ...]:
        """Return what to fetch for the order.

        Raises:
            InvalidInput: this version cannot read it.
        """
        order = self.step_order
        return (order.order.base, order.items) if order.step == "check" else (order.order.base,)


@dataclass(frozen=True)
class _OrderBody:
    id: str
    order: dict[str, Any]


@dataclass(frozen=True)
class _Facts:
    protocol: int
    oldest_protocol: int
    version: str
    silo: str
    clock_offset_s: float


@dataclass(frozen=True)
class _Member:
    silo: str
    key_id: str
    public_key: str


@dataclass(frozen=True)
class _Roster:
    silos: tuple[_Member, ...]


@dataclass(frozen=True)
class _Problem:
    type: str
    detail: str


def order_in(data: bytes) -> Ordered:
    """Return the order in a body.

    Raises:
        ForgedAnswer: there is none.
    """
    found = _read(_OrderBody, data, "an order")
    if not _ORDER_ID.fullmatch(found.id):
        raise _odd("an order", "its id has other characters than letters, digits and '-', or too many")
    return Ordered(found.id, found.order)


def facts_in(data: bytes) -> dict[str, Any]:
    """Return the facts in a body about the gateway and this silo.

    Raises:
        ForgedAnswer: there are none.
    """
    return asdict(_read(_Facts, data, "the gateway's facts"))


def roster_in(data: bytes) -> list[dict[str, str]]:
    """Return the silos in a body: `silo`, `key_id` and `public_key` of each.

    Raises:
        ForgedAnswer: there are none.
    """
    return [asdict(member) for member in _read(_Roster, data, "the list of silos").silos]


def promotions_in(data: bytes) -> list[Promotion]:
    """Return what a body names as promoted.

    Raises:
        ForgedAnswer: this version cannot read it.
    """
    try:
        found: Any = read_json(data)
        return [Promotion.of_json(each) for each in found["models"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _odd("what is promoted", error) from error


def problem_in(data: bytes) -> tuple[str, str] | None:
    """Return the kind and the detail of a refusal, to be shown on a terminal; None if a body has none."""
    try:
        found = read_strictly(_Problem, read_json(data))
    except (ValueError, TypeError):
        return None
    return found.type.rpartition(":")[2], printable(found.detail)


def printable(text: str) -> str:
    """Return a text of another party without control characters, which could change a terminal."""
    cut = text[:_LONGEST_DETAIL]
    return "".join(each if each.isprintable() else " " for each in cut)


def _read(kind: type[_Kind], data: bytes, what: str) -> _Kind:
    try:
        return read_strictly(kind, read_json(data))
    except (ValueError, TypeError) as error:
        raise _odd(what, error) from error


def _odd(what: str, why: object) -> ForgedAnswer:
    return ForgedAnswer(
        f"The gateway's answer does not contain {what} that this version can read: {printable(str(why))}.",
        next_step="Install the coordinator's version of fedrec.",
    )
