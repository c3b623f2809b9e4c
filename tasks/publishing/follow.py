"""Publishes again and again, until it is stopped."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from models.errors import FedrecError
from tasks.bundles.pointer import Pointer, nudge_path, publisher_path
from tasks.local.atomic import write_atomically

_LOOK_FOR_NUDGE_S = 0.2


def follow(
    publish: Callable[[], Pointer],
    folder: Path,
    interval: float,
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    """Publish what is promoted whenever it changes, until `stop` is set.

    A failure is reported through `say`, written for the serving processes, and tried again.

    Args:
        publish: publishes the champion, and returns the pointer to it.
        folder: the model's folder.
        interval: seconds between two calls. Touching the file `nudge_path` triggers one at once.
        stop: ends the loop.
        say: receives a sentence whenever something changes.
    """
    last: tuple[Pointer | None, str] | None = None
    while not stop.is_set():
        nudged = _nudged(folder)
        pointer: Pointer | None = None
        error = ""
        try:
            pointer = publish()
        except FedrecError as refused:
            error = str(refused)
        except Exception as failed:  # noqa: BLE001  # an unavailable registry must not end the loop
            error = f"{type(failed).__name__}: {failed}"
        if (pointer, error) != last:
            last = (pointer, error)
            _write_down(folder, error)
            say(error or f"published {pointer.champion.bundle if pointer else ''}")
        # The age of this file shows serving processes whether a publisher still works.
        publisher_path(folder).touch()
        _wait(folder, interval, nudged, stop)


def _wait(folder: Path, interval: float, nudged: int, stop: threading.Event) -> None:
    until = time.monotonic() + interval
    while time.monotonic() < until and _nudged(folder) == nudged:
        if stop.wait(min(_LOOK_FOR_NUDGE_S, interval)):
            return


def _nudged(folder: Path) -> int:
    try:
        return nudge_path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def _write_down(folder: Path, error: str) -> None:
    """Write the last error to the file from which serving processes raise their alarm."""
    write_atomically(publisher_path(folder), json.dumps({"error": error}).encode(), durable=False)
