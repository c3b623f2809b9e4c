"""Canary and shadow: which version answers a request, and how the challenger would have answered it."""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from models.promotion.live import Comparison, Hits
from serving import log, metrics
from serving.problems import Problem
from serving.schema import Question
from serving.served import Served
from serving.settings import Settings
from serving.slot import Pair
from tasks.bundles.tallies import Tallies, comparison_key, serving_key, write_tallies

# Shadow work that waits is dropped, so that it never delays answers that are heard.
_MOST_SHADOWS = 8
_SALT = 0x5AD0


class Challenge:
    """Counts what versions answered, and has the challenger answer some.

    Args:
        settings: shares, and the folder for the counts.
    """

    def __init__(self, settings: Settings) -> None:
        self._canary, self._shadow, self._folder = settings.canary, settings.shadow, settings.root
        self._tallies = Tallies()
        self._keys: dict[int, str] = {}
        self._changed = False
        self._process = f"{os.getpid()}-{time.time_ns()}"
        self._workers = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._shadows = 0

    def choose(self, pair: Pair, body: bytes) -> Served:
        """Who answers: the challenger gets its share, the same questions each time."""
        if pair.challenger is not None and self._canary and _draw(body) < self._canary:
            return pair.challenger
        return pair.champion

    def answered(self, served: Served, answers: int = 1) -> None:
        """A version has given answers."""
        key = self._keys[served.version] = serving_key(served.target)
        self._tallies.count(key, Hits(answers=answers))
        self._changed = True

    def hit(self, version: int, item_id: str, pair: Pair) -> None:
        """An item was chosen that this version had recommended.

        Raises:
            Problem: 404, this process has not served that version, or the version does not know the item.
        """
        for served in (pair.champion, pair.challenger):
            if served is not None and served.version == version:
                served.row(item_id)
                self._keys.setdefault(version, serving_key(served.target))
        if version not in self._keys:
            raise Problem(404, "unknown-version", f"This service does not answer from version {version}.")
        self._tallies.count(self._keys[version], Hits(hits=1))
        self._changed = True
        metrics.hit(version)

    def shadow(
        self,
        pair: Pair,
        served: Served,
        body: bytes,
        question: Question,
        answer: list[dict[str, Any]],
        took: float,
    ) -> None:
        """A share of the champion's questions goes to the challenger, too, beside the reply."""
        if pair.challenger is None or served is not pair.champion or not self._shadow:
            return
        if _draw(body, _SALT) >= self._shadow or self._shadows >= _MOST_SHADOWS:
            return
        self._shadows += 1
        loop = asyncio.get_running_loop()
        # What is counted changes in the loop alone, so that nothing is read half changed.
        key = comparison_key(pair.champion.target, pair.challenger.target)
        compared = loop.run_in_executor(self._workers, _compared, pair.challenger, question, answer, took)
        compared.add_done_callback(lambda done: self._shadowed(key, done.result()))

    def _shadowed(self, key: str, one: Comparison) -> None:
        self._shadows -= 1
        self._tallies.compare(key, one)
        self._changed = True
        metrics.shadowed(one.overlap)

    async def write(self) -> None:
        """What was counted since stands in this process' file."""
        if self._changed:
            self._changed = False
            counted = Tallies(dict(self._tallies.hits), dict(self._tallies.comparisons))
            await asyncio.to_thread(write_tallies, self._folder, self._process, counted)


def _compared(
    challenger: Served, question: Question, answer: list[dict[str, Any]], took: float
) -> Comparison:
    begun = time.perf_counter()
    try:
        other = challenger.recommend(question)
    except Problem:
        other = []  # it does not know an item or feature that the champion knows
    except Exception as error:  # noqa: BLE001  # a challenger's failure is its own
        log.write("error", "challenger failed", error=repr(error)[:500])
        other = []
    return Comparison.of(
        [each["item_id"] for each in answer],
        [each["item_id"] for each in other],
        took,
        time.perf_counter() - begun,
    )


def _draw(body: bytes, salt: int = 0) -> float:
    """A number in [0, 1) that looks random and is the same for the same question."""
    return zlib.crc32(body, salt) / 2**32
