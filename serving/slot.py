"""The slot that holds the version which answers, and the watch that swaps it while requests go on."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from dataclasses import dataclass
from pathlib import Path

from models.errors import FedrecError
from serving import log, metrics
from serving.problems import not_ready
from serving.served import Served
from tasks.bundles.pointer import Target, pointer_path, publisher_path, read_pointer


@dataclass(frozen=True)
class Pair:
    """What answers at one moment.

    Attributes:
        champion: answers.
        challenger: is compared with it; None where there is none, or none that could be loaded.
    """

    champion: Served
    challenger: Served | None


class Slot:
    """Holds what answers. A request takes the pair once and keeps it to its end, so that none is mixed.

    Args:
        folder: of the pointer and the bundles.
        poll: seconds between two looks at the pointer.
        needs_users: whether a version answers only together with a silo's own users.
    """

    def __init__(self, folder: Path, poll: float, needs_users: bool = False) -> None:
        self._folder, self._poll, self._needs_users = folder, poll, needs_users
        self._stamp: tuple[int, int] | None = None
        self._pair: Pair | None = None

    @property
    def is_filled(self) -> bool:
        """Whether anything answers yet."""
        return self._pair is not None

    @property
    def pair(self) -> Pair:
        """What answers now.

        Raises:
            Problem: 503, nothing is loaded yet.
        """
        if self._pair is None:
            raise not_ready()
        return self._pair

    async def watch(self) -> None:
        """Until cancelled, what the pointer names is loaded beside what answers, and takes its place."""
        while True:
            await self.look()
            self._hear_publisher()
            await asyncio.sleep(self._poll)

    async def look(self) -> None:
        """What the pointer names answers now; where that cannot be, all is as it was, and the alarm is on."""
        stamp = self._stamped()
        if stamp is None or stamp == self._stamp:
            return
        try:
            pair = await asyncio.to_thread(self._loaded)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, what answers goes on
            if self._stamped() == stamp:
                self._stamp = stamp
                metrics.swap_failed()
                log.write("error", "swap refused", error=repr(error))
            # Otherwise the pointer moved on meanwhile, and the bundle may be gone with reason.
            return
        self._stamp = stamp
        if pair is not None:
            self._pair = pair
            metrics.swapped(pair.champion.version)
            log.write("info", "swapped", **pair.champion.model)
            # What is held for long need not be looked through by every collection.
            gc.collect()
            gc.freeze()

    def _stamped(self) -> tuple[int, int] | None:
        try:
            found = pointer_path(self._folder).stat()
        except OSError:
            return None
        # Every pointer is a new file, so that two within one tick of the clock differ, too.
        return found.st_ino, found.st_mtime_ns

    def _hear_publisher(self) -> None:
        """The alarm is on while the publisher cannot publish what the registry names."""
        path = publisher_path(self._folder)
        try:
            metrics.publisher_seen(max(0.0, time.time() - path.stat().st_mtime))
            failed = bool(json.loads(path.read_bytes())["error"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        metrics.publisher_failed(failed)

    def _loaded(self) -> Pair | None:
        pointer = read_pointer(self._folder)
        if pointer is None or (self._needs_users and not pointer.champion.users_sha256):
            return None
        champion = self._served(pointer.champion)
        challenger = None
        if pointer.challenger is not None:
            try:
                challenger = self._served(pointer.challenger)
            except FedrecError as error:
                metrics.swap_failed()
                log.write("error", "challenger refused", error=str(error))
        return Pair(champion, challenger)

    def _served(self, target: Target) -> Served:
        """The target, loaded only where it is not what answers already."""
        for held in (self._pair.champion, self._pair.challenger) if self._pair else ():
            if held is not None and held.target == target:
                return held
        return Served.load(self._folder, target)
