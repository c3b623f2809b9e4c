"""The interface between a job and its clients: the only difference between one machine and many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step


class Late(ABC):
    """A client that missed a deadline.

    Args:
        reason: for people; the text of this object.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __str__(self) -> str:
        return self.reason

    @property
    @abstractmethod
    def is_at_work(self) -> bool:
        """Whether it still works on its order."""


class Runner(Protocol):
    """Sends orders to clients and waits for their answers until a deadline.

    Attributes:
        polling_s: seconds so far in which orders were open but no client is known to have worked.
    """

    polling_s: float

    def ask(
        self, step: Step, orders: Mapping[str, ClientOrder], deadline_s: float, **arguments: Any
    ) -> dict[str, Any]:
        """Return each client's answer: one of `tasks.messages.answers`, an exception or a `Late`.

        Args:
            step: what the clients do.
            orders: client id -> its order.
            deadline_s: seconds from now.
            **arguments: further arguments of the step.
        """

    def abandon(self, late: Iterable[Any]) -> None:
        """End the job without these clients, which are still at work."""
