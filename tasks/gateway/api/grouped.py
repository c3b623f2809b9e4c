"""Groups what many requests want at once, so that one thread does it with one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

Item = TypeVar("Item")
Result = TypeVar("Result")


class Grouped(Generic[Item, Result]):
    """Calls a function in a thread for all that wait. What comes meanwhile waits for the next call.

    Args:
        do: returns a result for each of the items, in their order. What it raises is raised for all of them.
    """

    def __init__(self, do: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._do = do
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """Return the result for one item."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await result

    async def _work(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                found = await run_in_threadpool(self._do, [item for item, _ in group])
            except Exception as error:  # noqa: BLE001 - raised for each that waits
                for _, result in group:
                    if not result.done():
                        result.set_exception(error)
            else:
                for (_, result), value in zip(group, found, strict=True):
                    if not result.done():
                        result.set_result(value)
        self._task = None
