"""What runners of silos have in common: orders name what was witnessed, and answers are verified."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Generic, TypeVar

from models.errors import FedrecError
from tasks.coordinator.ask_with_witness import EgressWitnesses
from tasks.coordinator.silo_answers import SiloAnswers
from tasks.coordinator.trust_store import TrustStore
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.jobs.stopwatch import busy_seconds
from tasks.messages.answers import ClientEvaluation, Delivery
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step, StepOrder

Ticket = TypeVar("Ticket")
_TIMED = (Delivery, ClientEvaluation)


class SiloRunner(ABC, Generic[Ticket]):
    """A runner whose clients are silos on their own machines. How orders get there is the subclass's matter.

    Args:
        exchange: the exchange with the silos' answers.
        trust: the silos' public keys.
        items: the job's catalogue in the exchange.
    """

    def __init__(self, exchange: Exchange, trust: TrustStore, items: ArtifactRef) -> None:
        self._witnesses = EgressWitnesses(trust)
        self._answers = SiloAnswers(exchange, trust, self._witnesses)
        self._trust = trust
        self._items = items
        self.polling_s = 0.0

    def ask(
        self, step: Step, orders: Mapping[str, ClientOrder], deadline_s: float, **arguments: Any
    ) -> dict[str, Any]:
        """Return each silo's answer to its order; see `flows.runners.runner.Runner`."""
        began = time.monotonic()
        answers: dict[str, Any] = {}
        step_orders = {}
        for silo, order in orders.items():
            try:
                self._trust.key_of(silo)
                step_orders[silo] = self._step_order(step, order, arguments)
            except FedrecError as error:
                answers[silo] = error
        found, tickets = self._collect(step_orders, began + deadline_s)
        answers |= found
        for silo in step_orders.keys() - answers.keys():
            try:
                # A silo that died after it sent its answer has answered, whatever became of its order.
                answers[silo] = self._answers.read_verified(step, orders[silo])
            except (FedrecError, OSError):
                answers[silo] = self._missed(silo, tickets.get(silo), deadline_s)
        self._witnesses.keep()
        spans = [(each.started, each.ended) for each in answers.values() if isinstance(each, _TIMED)]
        self.polling_s += max(0.0, time.monotonic() - began - busy_seconds(spans)) if spans else 0.0
        # In the order of `orders`, not of arrival, because sums of floats depend on the order.
        return {silo: answers[silo] for silo in orders}

    @abstractmethod
    def _collect(
        self, step_orders: Mapping[str, StepOrder], deadline: float
    ) -> tuple[dict[str, Any], dict[str, Ticket]]:
        """Give the orders to the silos, and wait.

        Args:
            step_orders: silo -> its order.
            deadline: by `time.monotonic`.

        Returns:
            The answers or exceptions that came before the deadline, and what became of the orders, by silo.
        """

    @abstractmethod
    def _missed(self, silo: str, ticket: Ticket | None, deadline_s: float) -> Any:
        """Return the `Late` or the error of a silo that missed the deadline.

        Args:
            silo: the silo.
            ticket: of its order; None if it got none.
            deadline_s: seconds that it had.
        """

    def _step_order(self, step: Step, order: ClientOrder, arguments: Mapping[str, Any]) -> StepOrder:
        given = {
            name: value if isinstance(value, int) else asdict(value) for name, value in arguments.items()
        }
        if step == "check":
            given["items"] = asdict(self._items)
        given |= self._witnesses.order_arguments(order.client_id)
        return StepOrder(step, order, given)
