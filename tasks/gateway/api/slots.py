"""Bounds what one silo has under way in a process of the gateway, so that it cannot take all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tasks.web.problem import Problem


class Slots:
    """The slots of all silos.

    Args:
        most: of one silo at once.
        what: what they are for, in a refusal.
    """

    def __init__(self, most: int, what: str) -> None:
        self._most, self._what = most, what
        self._taken: Counter[str] = Counter()

    def _take(self, silo: str) -> Callable[[], None]:
        """Take a slot, and return a function that gives it back, once.

        Raises:
            Problem: 429, there is none.
        """
        if self._taken[silo] >= self._most:
            raise Problem(
                429, "too-many", f"Too many {self._what} of this silo at once.", {"retry-after": "1"}
            )
        self._taken[silo] += 1

        def give_back() -> None:
            self._taken[silo] -= 1

        return give_back

    @contextmanager
    def until_sent(self, silo: str) -> Iterator[Callable[[], None]]:
        """Take a slot for a `HeldResponse` that the block makes. If the block raises, the slot is given back.

        Raises:
            Problem: 429, there is none.
        """
        give_back = self._take(silo)
        try:
            yield give_back
        except BaseException:
            give_back()
            raise

    @contextmanager
    def hold(self, silo: str) -> Iterator[None]:
        """Hold a slot inside the block.

        Raises:
            Problem: 429, there is none.
        """
        give_back = self._take(silo)
        try:
            yield
        finally:
            give_back()


class HeldResponse(StreamingResponse):
    """A response that gives its slot back when its last byte was sent, or its reader has gone."""

    def __init__(
        self, pieces: Iterator[bytes], size: int, give_back: Callable[[], None], **further: Any
    ) -> None:
        super().__init__(pieces, headers={"content-length": str(size)}, **further)
        self._give_back = give_back

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._give_back()
