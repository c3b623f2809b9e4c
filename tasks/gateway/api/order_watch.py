"""Lets requests wait for orders: one look into the database serves all that wait in a process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from tasks.gateway.api.problems import busy
from tasks.gateway.order_book import OrderBook, PlacedOrder

# Seconds between two looks, after one that failed, and within which one must succeed.
_LOOK_S, _PAUSE_S = 0.05, 1.0
_LOOK_WITHIN_S = 10.0


class OrderWatch:
    """The requests that wait for orders.

    Args:
        book: the orders.
        on_error: told of a look that failed, as when the database is away. The next look tries again.
    """

    def __init__(self, book: OrderBook, on_error: Callable[[Exception], None]) -> None:
        self._book, self._on_error = book, on_error
        self._waiting: dict[str, set[asyncio.Future[PlacedOrder]]] = {}
        self._looks = 0

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look for orders while the block runs."""
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def next_for(
        self, silo: str, wait_s: float, gone: Callable[[], Awaitable[None]]
    ) -> PlacedOrder | None:
        """Return the silo's first open order, or None if none comes within `wait_s` or the silo leaves.

        Args:
            silo: the silo.
            wait_s: seconds to wait; there is at least one whole look.
            gone: returns when the silo has disconnected. A silo that was killed must not count as having
                fetched an order.

        Raises:
            Problem: 503, no look succeeded. An agent ends its work if there is no order.
        """
        began = self._looks
        order: asyncio.Future[PlacedOrder] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(silo, set()).add(order)
        leaving: asyncio.Future[Any] = asyncio.ensure_future(gone())
        either: set[asyncio.Future[Any]] = {order, leaving}
        try:
            await asyncio.wait(either, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            give_up = time.monotonic() + _LOOK_WITHIN_S
            # The first of them may have begun before this request.
            while self._looks < began + 2 and not (order.done() or leaving.done()):
                if time.monotonic() > give_up:
                    raise busy()
                await asyncio.wait(either, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            return order.result() if order.done() else None
        finally:
            leaving.cancel()
            order.cancel()
            self._waiting[silo].discard(order)
            if not self._waiting[silo]:
                del self._waiting[silo]

    async def _look(self) -> None:
        while True:
            pause_s = _LOOK_S
            if self._waiting:
                try:
                    await self._deliver(await run_in_threadpool(self._book.first_open, list(self._waiting)))
                    self._looks += 1
                except Exception as error:  # noqa: BLE001 - the requests wait until the database is back
                    self._on_error(error)
                    pause_s = _PAUSE_S
            await asyncio.sleep(pause_s)

    async def _deliver(self, found: dict[str, PlacedOrder]) -> None:
        taken = [order.id for silo, order in found.items() if self._waiting.get(silo)]
        if taken:
            await run_in_threadpool(self._book.note_fetched, taken)
        for silo, order in found.items():
            for future in self._waiting.get(silo, ()):
                if not future.done():
                    future.set_result(order)
