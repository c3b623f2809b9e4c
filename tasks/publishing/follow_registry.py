"""Polls the registry, and publishes the versions that its aliases name after they move."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.errors import FedrecError, InvalidInput
from models.ledger.chain import Entry
from models.promotion.live import DropPolicy
from tasks.bundles.pointer import Pointer
from tasks.bundles.serving_folder import serving_folder
from tasks.bundles.tallies import Tallies, read_tallies
from tasks.local.home import Home
from tasks.publishing.bound_model import bound_model
from tasks.publishing.follow import follow
from tasks.publishing.publish import Publisher
from tasks.publishing.rollback_on_drop import log_comparison, reason_to_roll_back
from tasks.publishing.silo_users import SiloUsers
from tasks.tracking import registry

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
    users: SiloUsers | None = None,
) -> None:
    """Publish a model's champion whenever it changes, until `stop` is set.

    A failure is reported through `say`, written for the serving processes, and tried again.

    Args:
        home: contains the registry and the bundles.
        model_name: the registered model; None to follow the only one, or the first that is registered. Once
            it is found, it stays the same, whatever else is registered.
        interval: seconds between two reads of the registry. Touching the file `nudge_path` triggers one
            at once.
        stop: ends the loop.
        say: receives a sentence whenever something changes.
        policy: the drop of the hit rate that triggers a rollback; None to never roll back.
        roll_back: makes the previous champion serve again, given a model's name and a reason. Returns whether
            it succeeded.
        users: in a silo, its own users.

    Raises:
        InvalidInput: no name is given, and several models are registered.
    """
    name = _bound(home, model_name, interval, stop, say)
    if name is None:
        return
    folder = serving_folder(home, name, users.silo if users else None)
    follower = Follower(home, name, folder, say, policy, roll_back, users)
    follow(follower.look, folder, interval, stop, say)


def _bound(
    home: Home, model_name: str | None, interval: float, stop: threading.Event, say: Callable[[str], None]
) -> str | None:
    """Return the model to follow once there is one; None if `stop` is set before."""
    last = ""
    while not stop.is_set():
        try:
            return bound_model(home, model_name)
        except InvalidInput:
            raise
        except FedrecError as refused:
            error = str(refused)
        except Exception as failed:  # noqa: BLE001  # the registry may become available
            error = f"{type(failed).__name__}: {failed}"
        if error != last:
            last = error
            say(error)
        stop.wait(interval)
    return None


class Follower:
    """Reads the registry once per call of `look`. The arguments are those of `follow_registry`."""

    def __init__(
        self,
        home: Home,
        model_name: str,
        folder: Path,
        say: Callable[[str], None],
        policy: DropPolicy | None,
        roll_back: Callable[[str, str], bool] | None,
        users: SiloUsers | None,
    ) -> None:
        self._home, self._model_name, self._folder, self._say = home, model_name, folder, say
        self._policy, self._roll_back, self._users = policy, roll_back, users
        self._client: Any = None
        self._publisher: Publisher | None = None
        self._undone: Pointer | None = None
        self._compared_at = -_BETWEEN_COMPARISONS_S

    def look(self) -> Pointer:
        """Publish the registry's champion, or roll it back if its hit rate has dropped."""
        self._client = self._client or registry.open_registry(self._home)
        name = registry.resolve_model_name(self._client, self._model_name)
        self._publisher = self._publisher or Publisher(self._home, self._client, name, self._users)
        pointer = self._publisher.publish()
        tallies = read_tallies(self._folder)
        if time.monotonic() - self._compared_at >= _BETWEEN_COMPARISONS_S:
            self._compared_at = time.monotonic()
            log_comparison(self._client, name, pointer, tallies)
        entries = self._publisher.decisions()
        reason = self._reason(entries, pointer, tallies)
        if reason is None or self._roll_back is None:
            if self._publisher.refused:
                bundle = pointer.champion.bundle
                raise FedrecError(f"{bundle} is published without a challenger. {self._publisher.refused}")
            return pointer
        # A rollback that failed once would fail again.
        self._undone = pointer
        self._say(f"rolling back {pointer.champion.bundle}: {reason}")
        if not self._roll_back(name, reason):
            raise FedrecError(f"The rollback of {pointer.champion.bundle} failed: {reason}.")
        return self._publisher.publish()

    def _reason(self, entries: list[Entry], pointer: Pointer, tallies: Tallies) -> str | None:
        if self._policy is None or pointer == self._undone:
            return None
        return reason_to_roll_back(self._client, entries, self._model_name, pointer, tallies, self._policy)
