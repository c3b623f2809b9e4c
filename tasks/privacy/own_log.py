"""A local client's own log, which has the details of failures that a job with noise does not record.

An error's message may name users and items. Records, logs and reports of a job that promises privacy have
the kind of error only.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from datetime import UTC, datetime
from pathlib import Path

from models.errors import FedrecError, SiloFailed

_FILE, _OWNER_ONLY = "client.log", 0o600


def note(folder: Path, text: str) -> Path:
    """Append a text to the log in a client's private folder, and return the log's path."""
    path = folder / _FILE
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _OWNER_ONLY)
    with os.fdopen(descriptor, "a", encoding="utf-8") as log:
        log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')}\n{text.rstrip()}\n")
    return path


def without_details(folder: Path, error: Exception) -> Exception:
    """Return an error that says the kind of another one alone. The log in the client's folder gets the rest.

    An error of fedrec becomes one of fedrec, because steps that fail by it are not tried again.
    """
    path = folder / _FILE
    with contextlib.suppress(OSError):  # such as a full disk
        note(folder, "".join(traceback.format_exception(error)))
    what = f"{type(error).__name__}; the client's own log {path} has the details."
    return SiloFailed(what) if isinstance(error, FedrecError) else RuntimeError(what)
