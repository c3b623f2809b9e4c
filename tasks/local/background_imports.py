"""Imports modules in a thread, while the main thread waits for something else."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Sequence

_begun = threading.Event()


def import_in_background(modules: Sequence[str]) -> None:
    """Import modules in a thread that ends with the process. Only the first call of a process does it.

    An error is raised where the module is imported again.
    """
    if not _begun.is_set():
        _begun.set()
        threading.Thread(target=_import, args=(modules,), name="imports", daemon=True).start()


def _import(modules: Sequence[str]) -> None:
    for each in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(each)
