"""Things that other packages may add, found by name."""

from __future__ import annotations

import re
from threading import RLock
from typing import Generic, TypeVar

from models.errors import InvalidInput

Thing = TypeVar("Thing")

_NAME = re.compile("[a-z][a-z0-9_-]{0,63}")


class Registry(Generic[Thing]):
    """Things by name, among them those that installed packages register.

    A package names its modules in an entry point group. They are imported once, at the first lookup, and
    register what they hold.

    Args:
        what: the word for one of the things in errors, such as "postprocessor".
        group: the entry point group, such as "fedrec.postprocessors".
    """

    def __init__(self, what: str, group: str) -> None:
        self._what, self._group = what, group
        self._things: dict[str, Thing] = {}
        self._loaded = False
        self._lock = RLock()

    def add(self, name: str, thing: Thing) -> None:
        """Register a thing.

        Raises:
            InvalidInput: the name is not one for a configuration, or belongs to another one.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidInput(
                f"{name!r} cannot be the name of a {self._what}.",
                next_step="Use small letters, digits, '-' and '_', at most 64 of them, with a letter first.",
            )
        if self._things.setdefault(name, thing) is not thing:
            raise InvalidInput(
                f"There is a {self._what} of the name {name!r} already. Give the other another name."
            )

    def remove(self, name: str, thing: Thing) -> None:
        """Undo `add`; a thing of the same name that is another one stays."""
        if self._things.get(name) is thing:
            del self._things[name]

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        self._load()
        return tuple(sorted(self._things))

    def registered(self) -> tuple[Thing, ...]:
        """Return what is registered so far, in that order; no package is loaded for it."""
        return tuple(self._things.values())

    def things(self) -> tuple[Thing, ...]:
        """Return all things, in the order of their registration."""
        self._load()
        return self.registered()

    def find(self, name: object) -> Thing:
        """Return the thing of this name; packages are loaded only if it is not registered yet.

        Raises:
            ValueError: there is no such thing; it lists those that exist.
        """
        if isinstance(name, str):
            if name not in self._things:
                self._load()
            if name in self._things:
                return self._things[name]
        listed = ", ".join(self.names()) or "an empty list"
        raise ValueError(f"there is no {self._what} {name!r}, only {listed}")

    def _load(self) -> None:
        with self._lock:
            if self._loaded:
                return
            self._loaded, before = True, dict(self._things)
            # Imported here, because a process that serves looks no further than what is registered.
            from importlib.metadata import entry_points

            for point in entry_points(group=self._group):
                try:
                    point.load()
                # A package may raise anything when it is imported. Nothing of a failed look is kept.
                except Exception as error:
                    self._loaded, self._things = False, before
                    raise InvalidInput(
                        f"The entry point {point.name!r} of {self._group} cannot be loaded: {error}.",
                        next_step="Install that package again, or remove it.",
                    ) from error
