"""The publisher's watch: what the registry's aliases name is published soon after they move."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from models.errors import FedrecError
from tasks import registry
from tasks.atomic import write_atomically
from tasks.home import Home
from tasks.pointer import Pointer, nudge_path, publisher_path, serving_folder
from tasks.publish import publish

_LOOK_FOR_NUDGE_S = 0.2


def watch(
    home: Home,
    model_name: str | None,
    interval: float,
    stop: threading.Event,
    tell: Callable[[str], None],
) -> None:
    """Until `stop` is set, the champion is published; a failure is told, written down, and tried again.

    Args:
        home: where registry and bundles lie.
        model_name: needed only where several models are registered.
        interval: seconds between two looks at the registry; a nudge has it looked at once.
        stop: ends the watch.
        tell: is given a sentence whenever something changes.
    """
    last: tuple[Any, str] | None = None
    client: Any = None
    while not stop.is_set():
        nudged = _nudged(home)
        pointer: Pointer | None = None
        error = ""
        try:
            client = client or registry.open_registry(home)
            pointer = publish(home, client, registry.resolve_model_name(client, model_name))
        except FedrecError as refused:
            error = str(refused)
        except Exception as failed:  # noqa: BLE001  # a registry that is away must not end the watch
            error = f"{type(failed).__name__}: {failed}"
        if (pointer, error) != last:
            last = (pointer, error)
            _write_down(home, error)
            tell(error or f"published {pointer.champion.bundle if pointer else ''}")
        _wait(home, interval, nudged, stop)


def nudge(home: Home) -> None:
    """The watch looks at the registry at once."""
    nudge_path(serving_folder(home)).touch()


def _wait(home: Home, interval: float, nudged: int, stop: threading.Event) -> None:
    until = time.monotonic() + interval
    while time.monotonic() < until and _nudged(home) == nudged:
        if stop.wait(min(_LOOK_FOR_NUDGE_S, interval)):
            return


def _nudged(home: Home) -> int:
    try:
        return nudge_path(serving_folder(home)).stat().st_mtime_ns
    except OSError:
        return 0


def _write_down(home: Home, error: str) -> None:
    """What serving processes read for their alarm."""
    value = json.dumps({"error": error}).encode()
    write_atomically(publisher_path(serving_folder(home)), value, durable=False)
