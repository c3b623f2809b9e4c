"""Canary and shadow mode: the challenger answers some requests, instead of the champion or for comparison."""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from models.promotion.live import Comparison, Hits
from serving import metrics
from serving.schema import RecommendationQuery
from serving.served import Served
from serving.settings import Settings
from serving.slot import Pair
from tasks.bundles.tallies import Tallies, comparison_key, serving_key, write_tallies
from tasks.web import json_log
from tasks.web.problem import Problem

# Further shadow queries are dropped, so shadow work never delays the champion's answers.
_MOST_SHADOWS = 8
_SALT = 0x5AD0


class Challenge:
    """Counts the answers of the versions, and lets the challenger answer some requests.

    Args:
        settings: the shares for the challenger, and the folder for the counts.
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
        """Return the version that answers. The challenger gets its share; equal bodies get equal versions."""
        if pair.challenger is not None and self._canary and _draw(body) < self._canary:
            return pair.challenger
        return pair.champion

    def answered(self, served: Served, answers: int = 1) -> None:
        """Count the answers of a version."""
        key = self._keys[served.version] = serving_key(served.target)
        self._tallies.count(key, Hits(answers=answers))
        self._changed = True

    def hit(self, version: int, item_id: str, pair: Pair) -> None:
        """Count an item that was chosen and that this version had recommended.

        Raises:
            Problem: 404, this process has not served the version, or the version does not have the item.
        """
        for served in (pair.champion, pair.challenger):
            if served is not None and served.version == version:
                served.row(item_id)
                self._keys.setdefault(version, serving_key(served.target))
        if version not in self._keys:
            raise Problem(404, "unknown-version", f"This service has not served version {version}.")
        self._tallies.count(self._keys[version], Hits(hits=1))
        self._changed = True
        metrics.hit(version)

    def shadow(
        self,
        pair: Pair,
        served: Served,
        body: bytes,
        query: RecommendationQuery,
        answer: Mapping[str, Any],
        took: float,
    ) -> None:
        """Let the challenger also answer a share of the champion's queries, without delaying the response."""
        if pair.challenger is None or served is not pair.champion or not self._shadow:
            return
        if _draw(body, _SALT) >= self._shadow or self._shadows >= _MOST_SHADOWS:
            return
        self._shadows += 1
        loop = asyncio.get_running_loop()
        # Only the event loop changes the counts, so no reader sees a partial change.
        key = comparison_key(pair.champion.target, pair.challenger.target)
        compared = loop.run_in_executor(self._workers, _compared, pair.challenger, query, answer, took)
        compared.add_done_callback(lambda done: self._shadowed(key, done.result()))

    def _shadowed(self, key: str, comparison: Comparison) -> None:
        self._shadows -= 1
        self._tallies.compare(key, comparison)
        self._changed = True
        metrics.shadowed(comparison.overlap)

    async def write(self) -> None:
        """Write the counts to this process' file if they have changed."""
        if self._changed:
            self._changed = False
            tallies = Tallies(dict(self._tallies.hits), dict(self._tallies.comparisons))
            await asyncio.to_thread(write_tallies, self._folder, self._process, tallies)


def _compared(
    challenger: Served, query: RecommendationQuery, answer: Mapping[str, Any], took: float
) -> Comparison:
    begun = time.perf_counter()
    other: list[dict[str, Any]] = []
    try:
        other = challenger.recommend(query)["recommendations"]
    except Problem:
        pass  # the challenger lacks a feature that the champion has
    except Exception as error:  # noqa: BLE001  # a challenger's failure must not affect the champion
        json_log.write("error", "challenger failed", error=repr(error)[:500])
    return Comparison.of(
        [each["item_id"] for each in answer["recommendations"]],
        [each["item_id"] for each in other],
        took,
        time.perf_counter() - begun,
    )


def _draw(body: bytes, salt: int = 0) -> float:
    """Return a pseudo-random number in [0, 1) that is equal for equal bodies."""
    return zlib.crc32(body, salt) / 2**32
