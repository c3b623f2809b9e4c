"""Polls the registry, and publishes the versions that its aliases name after they move."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from models.errors import FedrecError
from models.promotion.live import DropPolicy
from tasks.bundles.pointer import Pointer, nudge_path, publisher_path, serving_folder
from tasks.bundles.tallies import Tallies, read_tallies
from tasks.local.atomic import write_atomically
from tasks.local.home import Home
from tasks.promotion.ledger import LedgerReader
from tasks.publishing.publish import LayOutUsers, publish
from tasks.publishing.rollback_on_drop import log_comparison, reason_to_roll_back
from tasks.tracking import registry

_LOOK_FOR_NUDGE_S = 0.2
# A server of MLflow loads all versions of the model to set one's tag.
_BETWEEN_COMPARISONS_S = 60.0


def follow_registry(
    home: Home,
    model_name: str | None,
    interval: float,
    stop: threading.Event,
    say: Callable[[str], None],
    policy: DropPolicy | None = None,
    roll_back: Callable[[str, str], bool] | None = None,
    users: LayOutUsers | None = None,
) -> None:
    """Publish the champion whenever it changes, until `stop` is set.

    A failure is reported through `say`, written for the serving processes, and tried again.

    Args:
        home: contains the registry and the bundles.
        model_name: required only if several models are registered.
        interval: seconds between two reads of the registry. Touching the file `nudge_path` triggers one
            at once.
        stop: ends the loop.
        say: receives a sentence whenever something changes.
        policy: the drop of the hit rate that triggers a rollback; None to never roll back.
        roll_back: makes the previous champion serve again, given a model's name and a reason. Returns whether
            it succeeded.
        users: see `tasks.publishing.publish.publish`.
    """
    follower = Follower(home, model_name, say, policy, roll_back, users)
    last: tuple[Pointer | None, str] | None = None
    while not stop.is_set():
        nudged = _nudged(home)
        pointer: Pointer | None = None
        error = ""
        try:
            pointer = follower.look()
        except FedrecError as refused:
            error = str(refused)
        except Exception as failed:  # noqa: BLE001  # an unavailable registry must not end the loop
            error = f"{type(failed).__name__}: {failed}"
        if (pointer, error) != last:
            last = (pointer, error)
            _write_down(home, error)
            say(error or f"published {pointer.champion.bundle if pointer else ''}")
        # The age of this file shows serving processes whether a publisher still reads the registry.
        publisher_path(serving_folder(home)).touch()
        _wait(home, interval, nudged, stop)


class Follower:
    """Reads the registry once per call of `look`. The arguments are those of `follow_registry`."""

    def __init__(
        self,
        home: Home,
        model_name: str | None,
        say: Callable[[str], None],
        policy: DropPolicy | None,
        roll_back: Callable[[str, str], bool] | None,
        users: LayOutUsers | None,
    ) -> None:
        self._home, self._model_name, self._say = home, model_name, say
        self._policy, self._roll_back, self._users = policy, roll_back, users
        self._client: Any = None
        self._undone: Pointer | None = None
        self._reader = LedgerReader(home)
        self._compared_at = -_BETWEEN_COMPARISONS_S

    def look(self) -> Pointer:
        """Publish the registry's champion, or roll it back if its hit rate has dropped."""
        self._client = self._client or registry.open_registry(self._home)
        # Found once: without a name, the registry would list all its models at each call.
        self._model_name = registry.resolve_model_name(self._client, self._model_name)
        name = self._model_name
        refused: list[FedrecError] = []
        pointer = publish(self._home, self._client, name, self._users, self._reader, refused.append)
        tallies = read_tallies(serving_folder(self._home))
        if time.monotonic() - self._compared_at >= _BETWEEN_COMPARISONS_S:
            self._compared_at = time.monotonic()
            log_comparison(self._client, name, pointer, tallies)
        reason = self._reason(name, pointer, tallies)
        if reason is None or self._roll_back is None:
            if refused:
                raise FedrecError(
                    f"Without its challenger, {pointer.champion.bundle} is published. {refused[0]}"
                )
            return pointer
        # A rollback that failed once would fail again.
        self._undone = pointer
        self._say(f"rolling back {pointer.champion.bundle}: {reason}")
        if not self._roll_back(name, reason):
            raise FedrecError(f"The rollback of {pointer.champion.bundle} failed: {reason}.")
        return publish(self._home, self._client, name, self._users, self._reader, refused.append)

    def _reason(self, name: str, pointer: Pointer, tallies: Tallies) -> str | None:
        if self._policy is None or pointer == self._undone:
            return None
        entries = self._reader.verified(self._client, name) if self._home.ledger.exists() else []
        return reason_to_roll_back(self._client, entries, name, pointer, tallies, self._policy)


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
    """Write the last error to the file from which serving processes raise their alarm."""
    value = json.dumps({"error": error}).encode()
    write_atomically(publisher_path(serving_folder(home)), value, durable=False)
