"""What a process and all that it started take: memory and processor time."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_LOOK_S = 0.2


def cpu_of_children() -> float:
    """Return the processor seconds of all child processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tree_of(pid: int) -> list[psutil.Process]:
    """Return a process and all processes below it; nothing once it is gone."""
    try:
        own = psutil.Process(pid)
        return [own, *own.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def resident_bytes(process: psutil.Process) -> int:
    """Return the resident memory of a process; 0 once it is gone."""
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


@contextmanager
def peak_of(pid: int) -> Iterator[list[int]]:
    """Watch a process and all that it starts inside the block.

    The only value of the list becomes their largest resident memory together, in bytes, looked at five times
    a second. Memory that two processes share counts twice.
    """
    peak, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_S):
            peak[0] = max(peak[0], sum(map(resident_bytes, tree_of(pid))))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
