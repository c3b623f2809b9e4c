"""The slot that holds the served version, and replaces it without interrupting requests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import time
from dataclasses import dataclass
from pathlib import Path

from models.errors import FedrecError
from serving import metrics
from serving.problems import not_ready
from serving.served import Served
from tasks.bundles.pointer import Target, pointer_path, publisher_path, read_pointer
from tasks.web import json_log
from tasks.web.problem import Problem


@dataclass(frozen=True)
class Pair:
    """The versions that are served at one moment.

    Attributes:
        champion: the version that answers.
        challenger: the version compared with it; None if there is none or it could not be loaded.
    """

    champion: Served
    challenger: Served | None


class Slot:
    """Holds the served versions. A request reads the pair once, so its answer comes from one version only.

    Args:
        folder: folder of the pointer and the bundles.
        model_name: the model to serve. A bundle of another is refused.
        poll: seconds between two checks of the pointer.
        publisher_silence: as in `serving.settings.Settings`.
    """

    def __init__(self, folder: Path, model_name: str, poll: float, publisher_silence: float = 0.0) -> None:
        self._folder, self._model_name, self._poll = folder, model_name, poll
        self._publisher_silence = publisher_silence
        self._is_publisher_silent = False
        self._started_at = time.time()
        self._stamp: tuple[int, int] | None = None
        self._pair: Pair | None = None

    @property
    def is_filled(self) -> bool:
        """Return whether a version is loaded."""
        return self._pair is not None

    @property
    def pair(self) -> Pair:
        """Return the versions that are served now.

        Raises:
            Problem: 503, no version is loaded yet.
        """
        if self._pair is None:
            raise self.not_ready()
        return self._pair

    def not_ready(self) -> Problem:
        """Return the problem of a request before a version is loaded."""
        return not_ready(self._model_name)

    async def watch(self) -> None:
        """Follow the pointer until cancelled: load the version that it names and replace the served one."""
        while True:
            await self.update()
            self._read_publisher_status()
            await asyncio.sleep(self._poll)

    async def update(self) -> None:
        """Serve the versions that the pointer names. If loading fails, set the alarm and change nothing."""
        stamp = self._pointer_stamp()
        if stamp is None or stamp == self._stamp:
            return
        try:
            pair = await asyncio.to_thread(self._load)
        except Exception as error:  # noqa: BLE001  # no error may end the served version
            if self._pointer_stamp() == stamp:
                self._stamp = stamp
                metrics.swap_failed()
                json_log.write("error", "swap refused", error=repr(error))
            # Otherwise the pointer has changed meanwhile, so the bundle may have been removed on purpose.
            return
        self._stamp = stamp
        if pair is not None:
            self._pair = pair
            metrics.swapped(pair.champion.version)
            json_log.write("info", "swapped", **pair.champion.model)
            # A long-lived model need not be scanned in every garbage collection.
            gc.collect()
            gc.freeze()

    def _pointer_stamp(self) -> tuple[int, int] | None:
        try:
            status = pointer_path(self._folder).stat()
        except OSError:
            return None
        # Every pointer is a new file, so two that were written in one tick of the clock differ in the inode.
        return status.st_ino, status.st_mtime_ns

    def _read_publisher_status(self) -> None:
        """Set the alarm while the publisher cannot publish the registry's champion, or gives no sign."""
        path = publisher_path(self._folder)
        # A publisher that has just been started may find the sign of an earlier one.
        seen_at, failed = self._started_at, False
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            seen_at = path.stat().st_mtime
            metrics.publisher_seen(max(0.0, time.time() - seen_at))
            failed = bool(json.loads(path.read_bytes())["error"])
        silence = time.time() - max(seen_at, self._started_at)
        is_silent = 0.0 < self._publisher_silence < silence
        if is_silent and not self._is_publisher_silent:
            what = "no promotion or rollback takes effect until a publisher runs: restart the service"
            json_log.write("error", "publisher silent", seconds=round(silence), what=what)
        self._is_publisher_silent = is_silent
        metrics.publisher_failed(failed or is_silent)

    def _load(self) -> Pair | None:
        pointer = read_pointer(self._folder)
        if pointer is None:
            return None
        champion = self._load_version(pointer.champion)
        challenger = None
        if pointer.challenger is not None:
            try:
                challenger = self._load_version(pointer.challenger)
            except FedrecError as error:
                metrics.swap_failed()
                json_log.write("error", "challenger refused", error=str(error))
        return Pair(champion, challenger)

    def _load_version(self, target: Target) -> Served:
        """Return the target's version. It is loaded only if it is not yet served."""
        for served in (self._pair.champion, self._pair.challenger) if self._pair else ():
            if served is not None and served.target == target:
                return served
        return Served.load(self._folder, target, self._model_name)
