"""What a silo sends for an order: updates, and the answer that names one of them and ends the order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.errors import FedrecError
from tasks.coordinator.trust_store import TrustStore
from tasks.exchange.layout import silo_answers_folder, silo_updates_folder
from tasks.exchange.silo_updates import forget_earlier_updates
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.gateway.order_book import OrderBook, PlacedOrder
from tasks.silos.signed_answers import open_sealed
from tasks.web.problem import Problem

# Different updates of one open order. Two agents with one key may both work on it; more would fill the disk.
MOST_UPDATES = 4


class Intake:
    """Takes what silos send.

    Args:
        exchange: where it is kept.
        book: the orders.
        trust: the silos' public keys.
    """

    def __init__(self, exchange: Exchange, book: OrderBook, trust: TrustStore) -> None:
        self._exchange, self._book, self._trust = exchange, book, trust

    def keep_update(self, silo: str, order_id: str, data: bytes, sha256: str) -> ArtifactRef:
        """Keep an update of an open order. The same update again changes nothing.

        Raises:
            Problem: 409, the order has ended; 429, it has too many updates.
        """
        # The order may have ended while the body came.
        placed = self._book.find(silo, order_id)
        folder = self._updates_of(placed)
        kept = {each.sha256 for each in self._exchange.listed(folder)}
        # The silo may not have got the answers to its update and its answer.
        if placed.state != "open" and not (placed.state == "answered" and sha256 in kept):
            raise ended(placed)
        if len(kept - {sha256}) >= MOST_UPDATES:
            raise Problem(429, "too-many", "This order has too many updates.", {"retry-after": "5"})
        about = placed.context
        forget_earlier_updates(self._exchange, about.silo, about.job_id, about.round)
        return self._exchange.put(folder, data, sha256)

    def take_answer(self, placed: PlacedOrder, data: bytes, sha256: str) -> str:
        """Keep an answer, end its order, and return what the silo did. The first answer counts.

        Raises:
            Problem: 409, the order has ended otherwise; 422, it is no answer to the order, or names an update
                that is not here.
        """
        about = placed.context
        try:
            body = open_sealed(data, about, self._trust.key_of(about.silo))
        except FedrecError as error:
            raise Problem(422, "no-answer", error.what) from error
        now = self._book.find(about.silo, placed.id)
        is_again = (now.state, now.outcome) == ("answered", sha256)
        if now.state != "open" and not is_again:
            raise ended(now)
        update = self._named_update(placed, body)
        # Stored first: an answer without the note is handed in again, a note without the answer is a loss.
        folder = silo_answers_folder(about.silo, about.job_id, about.round, about.kind)
        ref = self._exchange.put(folder, data, sha256)
        if not is_again and not self._book.end(placed.id, "answered", sha256):
            now = self._book.find(about.silo, placed.id)
            is_again = (now.state, now.outcome) == ("answered", sha256)
            if not is_again:
                self._exchange.remove(ref.path)
                raise ended(now)
        for each in (ref, update):
            if each is not None:
                self._exchange.remove_others(each)
        return f"answered order {placed.id}{' again' if is_again else ''}"

    def end_failed(self, placed: PlacedOrder, error: str) -> None:
        """End an order that the silo cannot do.

        Raises:
            Problem: 409, it has ended otherwise.
        """
        if not self._book.end(placed.id, "failed", error):
            now = self._book.find(placed.silo, placed.id)
            if (now.state, now.outcome) != ("failed", error):
                raise ended(now)

    def _updates_of(self, placed: PlacedOrder) -> str:
        about = placed.context
        return silo_updates_folder(about.silo, about.job_id, about.round)

    def _named_update(self, placed: PlacedOrder, body: Mapping[str, Any]) -> ArtifactRef | None:
        """Return the update that an answer names; None if it names none."""
        named = body.get("update")
        sha256 = named.get("sha256") if isinstance(named, Mapping) else None
        if sha256 is None:
            return None
        for each in self._exchange.listed(self._updates_of(placed)):
            if each.sha256 == sha256:
                return each
        raise Problem(422, "no-update", "The answer names an update that was not sent. Send it first.")


def ended(placed: PlacedOrder) -> Problem:
    """Return a 409 for an order that is not open."""
    if placed.state == "withdrawn":
        return Problem(409, "withdrawn", "The coordinator withdrew this order. Ask for the next one.")
    return Problem(
        409,
        "ended",
        f"This order has {placed.state} already, with another answer. If this silo's key is used in two "
        "places, stop one of them.",
    )
