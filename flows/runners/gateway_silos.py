"""A runner whose clients are silos that get their orders from the gateway, one Prefect task for each.

The orders and how they ended lie in a database that the gateway shares, so that either side may stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from threading import Event
from typing import Any, TypeVar

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from flows.runners.runner import Late
from flows.runners.silo_runner import SiloRunner
from models.errors import FedrecError, SiloFailed
from tasks.coordinator.trust_store import TrustStore
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.gateway.order_book import OrderBook
from tasks.gateway.visits import Visits
from tasks.messages.steps import StepOrder

T = TypeVar("T")
# Seconds between two looks into the database.
_LOOK_S = 0.02
# Seconds for which the database may be away, and between two tries.
_AWAY_S, _PAUSE_S = 120.0, 0.5
# A silo whose agent works asks every few seconds whether its order still counts.
_SILENT_S = 15.0


class LateOrder(Late):
    """A silo that missed the deadline and may still work on its order.

    Args:
        reason: for people.
        book: the orders.
        visits: when silos were there.
        silo: the silo.
        order_id: its order.
    """

    def __init__(self, reason: str, book: OrderBook, visits: Visits, silo: str, order_id: str) -> None:
        super().__init__(reason)
        self._book, self._visits, self._silo, self.order_id = book, visits, silo, order_id

    @property
    def is_at_work(self) -> bool:
        """Whether the order is open and the silo was heard of lately."""
        seen = _persistently(self._visits.all).get(self._silo)
        is_open = _persistently(lambda: self._book.find(self._silo, self.order_id)).state == "open"
        return is_open and seen is not None and time.time() - seen.seen_at < _SILENT_S


class _Wait:
    """What a silo's Prefect task waits for.

    Args:
        name: names the task's run.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.ended = Event()
        self.fault: str | None = "no answer before the deadline"

    def __str__(self) -> str:
        return self._name


def _await(wait: _Wait) -> State[None]:
    wait.ended.wait()
    return Failed(message=wait.fault) if wait.fault else Completed()


_AWAIT = task(name="silo-step", task_run_name="{wait}", cache_policy=NO_CACHE, persist_result=False)(_await)


class GatewaySilos(SiloRunner[str]):
    """A runner whose clients are silos behind a gateway.

    Args:
        exchange: the exchange in which the gateway puts the silos' answers.
        trust: the silos' public keys.
        items: the job's catalogue in the exchange.
        book: the orders.
        visits: when silos were there.
    """

    def __init__(
        self, exchange: Exchange, trust: TrustStore, items: ArtifactRef, book: OrderBook, visits: Visits
    ) -> None:
        super().__init__(exchange, trust, items)
        self._book, self._visits = book, visits

    def abandon(self, late: Iterable[LateOrder]) -> None:
        """Withdraw the orders of these silos, whose agents end their work."""
        ids = [each.order_id for each in late]
        _persistently(lambda: self._book.withdraw(ids))

    def _collect(
        self, step_orders: Mapping[str, StepOrder], deadline: float
    ) -> tuple[dict[str, Any], dict[str, str]]:
        ids = _persistently(lambda: self._book.place(list(step_orders.values())))
        waits = {
            silo: _Wait(f"{each.step}-{silo}-round-{each.order.round}") for silo, each in step_orders.items()
        }
        futures = []
        try:
            for wait in waits.values():
                futures.append(_AWAIT.submit(wait))
            answers = self._waited(step_orders, ids, waits, deadline)
        finally:
            # Also after an error: Prefect's tasks must not wait for ever.
            for wait in waits.values():
                wait.ended.set()
        for future in futures:
            future.wait()
        return answers, ids

    def _waited(
        self,
        step_orders: Mapping[str, StepOrder],
        ids: Mapping[str, str],
        waits: Mapping[str, _Wait],
        deadline: float,
    ) -> dict[str, Any]:
        """Return what comes before the deadline, and end the tasks that wait for it."""
        answers: dict[str, Any] = {}
        while len(answers) < len(ids) and time.monotonic() < deadline:
            open_ = sorted(ids.keys() - answers.keys())
            states = _persistently(lambda: self._book.states([ids[silo] for silo in open_]))  # noqa: B023
            for silo in open_:
                state, outcome = states.get(ids[silo], ("withdrawn", None))
                if state != "open":
                    answers[silo] = self._answer(step_orders[silo], state, outcome)
                    fault = answers[silo] if isinstance(answers[silo], Exception) else None
                    waits[silo].fault = str(fault) if fault else None
                    waits[silo].ended.set()
            time.sleep(_LOOK_S)
        return answers

    def _missed(self, silo: str, ticket: str | None, deadline_s: float) -> Any:
        assert ticket is not None  # noqa: S101  # every order is placed
        reason = f"no answer within {deadline_s:g} s"
        if _persistently(lambda: self._book.find(silo, ticket)).fetched_at is None:
            _persistently(lambda: self._book.withdraw([ticket]))
            reason += "; its agent did not fetch the order"
        return LateOrder(reason, self._book, self._visits, silo, ticket)

    def _answer(self, step_order: StepOrder, state: str, outcome: str | None) -> Any:
        """Return the answer to an order that has ended, or an error."""
        silo, step = step_order.order.client_id, step_order.step
        if state != "answered":
            what = outcome or "the order was withdrawn"
            return SiloFailed(f"Silo {silo!r} did not finish {step!r}: {what}.")
        try:
            return self._answers.read_verified(step, step_order.order, outcome)
        except FedrecError as error:
            return error
        except OSError as error:
            return SiloFailed(f"The answer of silo {silo!r} to {step!r} cannot be read: {error}")


def _persistently(do: Callable[[], T]) -> T:
    """Return what `do` returns. While the database is away, try again for two minutes."""
    give_up = time.monotonic() + _AWAY_S
    while True:
        try:
            return do()
        except (DBAPIError, PoolTimeout):
            if time.monotonic() > give_up:
                raise
            time.sleep(_PAUSE_S)
