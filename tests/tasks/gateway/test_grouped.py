"""What requests want at once is done together, and each gets its own result."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from tasks.gateway.api.grouped import Grouped


class Doubling:
    """Doubles numbers, and keeps the groups in which they came. The first group waits until it may go on."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may_go_on = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.groups.append(list(numbers))
        assert self.may_go_on.wait(30)
        if 13 in numbers:
            raise ValueError("unlucky")
        return [2 * number for number in numbers]


def test_what_comes_during_a_call_is_the_next_group() -> None:
    double = Doubling()

    async def run() -> list[int]:
        grouped = Grouped(double)
        first = asyncio.create_task(grouped(1))
        while not double.groups:
            await asyncio.sleep(0.01)
        others = [asyncio.create_task(grouped(number)) for number in (2, 3, 4)]
        await asyncio.sleep(0.01)
        double.may_go_on.set()
        return list(await asyncio.gather(first, *others))

    assert asyncio.run(run()) == [2, 4, 6, 8]
    assert double.groups == [[1], [2, 3, 4]]


def test_an_error_is_raised_for_its_group_alone() -> None:
    double = Doubling()
    double.may_go_on.set()

    async def run() -> int:
        grouped = Grouped(double)
        both = await asyncio.gather(grouped(13), grouped(1), return_exceptions=True)
        assert [str(each) for each in both] == ["unlucky", "unlucky"]
        return await grouped(4)

    assert asyncio.run(run()) == 8


def test_a_request_that_ended_costs_the_others_nothing() -> None:
    double = Doubling()

    async def run() -> int:
        grouped = Grouped(double)
        gone, stays = asyncio.create_task(grouped(1)), asyncio.create_task(grouped(2))
        while not double.groups:
            await asyncio.sleep(0.01)
        gone.cancel()
        double.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await stays

    assert asyncio.run(run()) == 4
