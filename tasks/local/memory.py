"""The memory that this process may still take: of the machine, and of the control groups that limit it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# What version 2 of Linux' control groups and version 1 call the limit, the use, and the file cache in it.
_NAMES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Return the bytes that this process can take without swapping and within its control groups.

    Args:
        groups: where the control groups are mounted.
        own: the file with the groups of this process.
    """
    left = [psutil.virtual_memory().available]
    for folder in _folders(groups, own):
        left += [free for names in _NAMES if (free := _free(folder, *names)) is not None]
    return max(0, min(left))


def _folders(groups: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups and of those around them, each of which may have a limit."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root = groups / controllers
            # A container sees its own group as the root, whatever the path says.
            inner = root / path.lstrip("/")
            yield root
            yield from (each for each in (inner, *inner.parents) if root in each.parents)


def _free(folder: Path, limit: str, use: str, cache: str) -> int | None:
    """Return the bytes that a group has left; None without a limit."""
    try:
        most = int((folder / limit).read_text())
        used = int((folder / use).read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, or "max"
        return None
    # The kernel drops this cache before it refuses memory.
    return most - used + int(facts.get(cache, 0))
