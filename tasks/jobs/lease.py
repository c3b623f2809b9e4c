"""The lease of a job. Its token increases with every holder, so that an old holder can be fenced off.

The holder keeps a file lock, which is released at once if it dies, and touches that file at every beat. A
holder that is alive but does not beat was suspended, or its machine was. Then the next process may take the
job over. The old holder may wake up at any point. Therefore it writes to the job only within `guarded`, which
compares its token under a lock that a take-over needs as well (the fencing token of Kleppmann, "How to do
distributed locking", 2016).

The clocks of two processes are never compared: a waiting process judges by its own clock whether a holder
beats.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from models.errors import JobBusy, LeaseLost

DEFAULT_S = 15.0
_BEATS = 10  # number of beats within `lease_s`
_LOOK_S = 0.05
_DOOR_S = 5.0


class Lease:
    """A job's lease, held by this process until it is released or lost to another process.

    Args:
        job: the job's folder.
        token: token of this holder, greater than those of all earlier holders.
        life: the lock that shows other processes that this one is alive.
        lease_s: seconds without a beat after which other processes may take over.
    """

    def __init__(self, job: Path, token: int, life: FileLock, lease_s: float) -> None:
        self.token = token
        self._job = job
        self._life = life
        self._lease_s = lease_s
        # Held by all threads of this process that are within `guarded`, from the first to the last of them.
        self._door = FileLock(job / ".lock", thread_local=False)
        self._inside = 0
        self._entering = threading.Lock()
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name=f"lease of {job.name}", daemon=True)
        self._beating.start()

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Prevent other processes from taking the job over while the block runs.

        Several threads of this process may be within such blocks at once.

        Raises:
            LeaseLost: another process has already taken it over.
        """
        with self._shared_door():
            newest = newest_token(self._job)
            if newest != self.token:
                raise LeaseLost(
                    f"Job {self._job.name} was taken over by another process, because this one gave no sign "
                    f"of life for {self._lease_s:g} s. Its uncommitted work is lost.",
                    next_step="Let the other process finish. It makes the same model.",
                    job_id=self._job.name,
                    token=self.token,
                    newest=newest,
                )
            yield

    def release(self) -> None:
        """Release the job at once."""
        self._over.set()
        self._beating.join()
        self._life.release()

    @contextlib.contextmanager
    def _shared_door(self) -> Iterator[None]:
        with self._entering:
            if not self._inside:
                self._door.acquire()
            self._inside += 1
        try:
            yield
        finally:
            with self._entering:
                self._inside -= 1
                if not self._inside:
                    self._door.release()

    def _beat(self) -> None:
        while not self._over.wait(self._lease_s / _BEATS):
            # The file is missing after a take-over. This process notices it at its next write.
            with contextlib.suppress(FileNotFoundError):
                os.utime(_life_of(self._job, self.token))


def take(job: Path, lease_s: float = DEFAULT_S) -> Lease:
    """Take a job's lease for this process. Wait up to `lease_s` seconds for a beat of a holder that is alive.

    Args:
        job: the job's folder.
        lease_s: seconds without a beat after which a lease expires.

    Raises:
        JobBusy: another process holds the lease and beats.
    """
    _folder(job).mkdir(parents=True, exist_ok=True)
    newest = newest_token(job)
    if newest:
        _wait_until_free_or_silent(job, newest, lease_s)
    try:
        with FileLock(job / ".lock").acquire(timeout=_DOOR_S):
            if newest_token(job) != newest:
                raise busy(job)
            life = FileLock(_life_of(job, newest + 1))
            life.acquire(timeout=0)
            _life_of(job, newest).unlink(missing_ok=True)
    except Timeout as error:
        # The old holder was suspended while it wrote, between comparing its token and the end of the write.
        raise busy(job) from error
    return Lease(job, newest + 1, life, lease_s)


@contextlib.contextmanager
def left_behind(job: Path) -> Iterator[bool]:
    """Yield whether no process holds the job's lease. No process can take it while the block runs."""
    try:
        with FileLock(job / ".lock").acquire(timeout=0):
            newest = newest_token(job)
            yield not newest or _is_free(job, newest)
    except Timeout:
        yield False


def newest_token(job: Path) -> int:
    """Return the newest holder's token; 0 if there was no holder."""
    return max((int(path.stem) for path in _folder(job).glob("[0-9]*.lock")), default=0)


def _wait_until_free_or_silent(job: Path, token: int, lease_s: float) -> None:
    life, give_up = _life_of(job, token), time.monotonic() + lease_s
    seen = _touched(life)
    while not _is_free(job, token) and time.monotonic() < give_up:
        time.sleep(_LOOK_S)
        if _touched(life) != seen:
            raise busy(job)


def _is_free(job: Path, token: int) -> bool:
    lock = FileLock(_life_of(job, token))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True


def _touched(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def busy(job: Path) -> JobBusy:
    """Return the error about a job on which another process works."""
    return JobBusy(
        f"Another process works on job {job.name}.",
        next_step="Wait for it to finish, or stop it first.",
        job_id=job.name,
    )


def _folder(job: Path) -> Path:
    return job / "lease"


def _life_of(job: Path, token: int) -> Path:
    return _folder(job) / f"{token:06d}.lock"
