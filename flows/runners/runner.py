"""Where the clients' work runs: the one difference between a job on one machine and one over many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step


class Late(ABC):
    """A client that did not answer in time.

    Args:
        reason: for people; it is the text of this object.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __str__(self) -> str:
        return self.reason

    @property
    @abstractmethod
    def is_at_work(self) -> bool:
        """Whether it still works on what it was asked."""


class Runner(Protocol):
    """Asks clients for a step, and waits no longer than is allowed.

    Attributes:
        polling_s: seconds so far in which somebody was asked and nobody is known to have worked.
    """

    polling_s: float

    def ask(
        self, step: Step, orders: Mapping[str, ClientOrder], deadline_s: float, **arguments: Any
    ) -> dict[str, Any]:
        """What each client answered: `Checked`, `Delivery` or `ClientEvaluation`, an exception, or a `Late`.

        Args:
            step: what to do.
            orders: client id -> its order.
            deadline_s: seconds from now.
            **arguments: what the step takes besides.
        """

    def give_up(self, late: Iterable[Any]) -> None:
        """Clients that are still at work when the job ends are left behind."""
