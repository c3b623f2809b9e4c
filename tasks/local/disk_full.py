"""A full disk as an error of ours: where it is full, and what to do."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from models.errors import DiskFull

_FULL = {errno.ENOSPC, errno.EDQUOT}


def is_disk_full(error: object) -> bool:
    """Whether a write failed for want of space, or of the account's share of it."""
    return isinstance(error, OSError) and error.errno in _FULL


def disk_full(error: OSError, folder: Path) -> DiskFull:
    """The error with a way out.

    Args:
        error: which `is_disk_full` holds of.
        folder: what was written to, where the error names no file.
    """
    path = Path(error.filename) if error.filename else folder
    there = next((each for each in (path, *path.parents) if each.exists()), folder)
    free = shutil.disk_usage(there).free
    return DiskFull(
        f"No space is left on the disk of {path} ({free} bytes are free): {error.strerror}.",
        next_step="Nothing was left half written. Free some space there, then give the same command again; "
        "a job goes on after its last committed round.",
        path=path,
        free=free,
    )
