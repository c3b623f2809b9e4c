"""The coordinator's own key, with which the gateway signs its answers."""

from __future__ import annotations

import contextlib

from models.errors import InvalidInput, NotFound
from tasks.local.home import Home
from tasks.silos.keys import SiloKey, load_key, make_key


def own_key(home: Home) -> SiloKey:
    """Return the key of the coordinator of this home, which is made at the first call."""
    folder = Home(home.root / "gateway")
    try:
        return load_key(folder)
    except NotFound:
        # Another process may make it at the same time.
        with contextlib.suppress(InvalidInput):
            return make_key(folder)
        return load_key(folder)
