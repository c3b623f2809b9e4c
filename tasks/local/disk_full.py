"""Turns the system's error about a full disk into fedrec's own, which says where and what to do."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from models.errors import DiskFull

_FULL = {errno.ENOSPC, errno.EDQUOT}


def is_disk_full(error: object) -> bool:
    """Return whether a write failed because the disk is full or the account's quota is used up."""
    return isinstance(error, OSError) and error.errno in _FULL


def disk_full(error: OSError, folder: Path) -> DiskFull:
    """Return the `DiskFull` error for a failed write.

    Args:
        error: an error for which `is_disk_full` is true.
        folder: the folder written to, for errors that name no file.
    """
    path = Path(error.filename) if error.filename else folder
    existing = next((each for each in (path, *path.parents) if each.exists()), folder)
    free = shutil.disk_usage(existing).free
    return DiskFull(
        f"No space is left on the disk of {path} ({free} bytes are free): {error.strerror}.",
        next_step="No file was left half written. Free some space there, then run the same command again; "
        "a job continues after its last committed round.",
        path=path,
        free=free,
    )
