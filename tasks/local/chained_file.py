"""A ledger on disk: a file of chained lines that is only ever appended to.

Each line is one entry of `models.ledger.chain`. An entry counts once its line is whole and on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from models.errors import JobBusy, LedgerTampered
from models.ledger import chain
from models.ledger.chain import Entry
from tasks.local.atomic import sync_folder

_LOCK_TIMEOUT_S = 30.0
_LOCK_POLL_S = 0.01
_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True)
class LedgerFile:
    """What the file holds.

    Attributes:
        entries: the whole entries, in order, not yet verified as a chain.
        torn: the bytes of a last line whose writing was interrupted; empty where there is none.
    """

    entries: list[Entry]
    torn: bytes = b""


@dataclass(frozen=True)
class ChainedFile:
    """A ledger at one path, which need not exist yet.

    Attributes:
        path: of the file; the lock lies beside it.
        ledger: what to call the ledger in an error.
        writer: what to call a process that writes to it.
        torn_log: name of the file beside it that torn last lines are put aside into.
    """

    path: Path
    ledger: str
    writer: str = "process"
    torn_log: str = "torn.log"

    @contextmanager
    def locked(self, timeout_s: float = _LOCK_TIMEOUT_S) -> Iterator[None]:
        """Only this thread of this process writes to the ledger while the block runs.

        Raises:
            JobBusy: another kept the lock for longer than the timeout.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_suffix(".lock"), timeout=timeout_s, poll_interval=_LOCK_POLL_S)
        try:
            lock.acquire()
        except Timeout as error:
            raise JobBusy(
                f"Another {self.writer} held the lock {lock.lock_file} for {timeout_s:g} s.",
                next_step="Wait until it is done, then run this command again.",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def read(self) -> LedgerFile:
        """The ledger's entries; none where there is no file yet.

        Raises:
            LedgerTampered: a whole line is not an entry.
        """
        if not self.path.exists():
            return LedgerFile([])
        *lines, torn = self.path.read_bytes().split(b"\n")
        return LedgerFile([self._parse(line, at) for at, line in enumerate(lines, start=1)], torn)

    def append(self, body: Mapping[str, Any]) -> Entry:
        """The body is the ledger's last entry, and on the disk; only within `locked`.

        A torn last line is put aside first: the process that wrote it never went on to act on it.

        Raises:
            LedgerTampered: the last line is not an entry.
        """
        last, torn = self._tail()
        if torn:
            self._put_aside(torn)
        entry = chain.follow(last, body)
        fresh = not self.path.exists()
        with self.path.open("ab") as file:
            file.write(entry.line().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            sync_folder(self.path.parent)
        return entry

    def last(self) -> Entry | None:
        """The newest whole entry; None where there is none yet.

        Raises:
            LedgerTampered: the last line is not an entry.
        """
        return self._tail()[0]

    def _tail(self) -> tuple[Entry | None, bytes]:
        """The last whole entry and the torn bytes after it, at a cost that does not grow with the file."""
        if not self.path.exists():
            return None, b""
        with self.path.open("rb") as file:
            *lines, torn = _last_lines(file)
        if not lines:
            return None, torn
        try:
            return self._parse(lines[-1], 0), torn
        except LedgerTampered:
            # The whole file is read only now, because only that tells where the line stands.
            self.read()
            raise

    def _parse(self, line: bytes, position: int) -> Entry:
        try:
            return chain.parse(line.decode(), position, ledger=self.ledger)
        except UnicodeDecodeError:
            # Not decodable is not parsable: let the chain word the error.
            return chain.parse("", position, ledger=self.ledger)

    def _put_aside(self, torn: bytes) -> None:
        with self.path.with_name(self.torn_log).open("ab") as aside:
            aside.write(torn + b"\n")
            aside.flush()
            os.fsync(aside.fileno())
        with self.path.open("r+b") as file:
            file.truncate(self.path.stat().st_size - len(torn))
            os.fsync(file.fileno())


def _last_lines(file: BinaryIO) -> list[bytes]:
    """The end of the file, split at line breaks, with its last whole line in it."""
    start = file.seek(0, os.SEEK_END)
    blocks: list[bytes] = []
    breaks = 0
    # The first of two line breaks ends the line before, so that what follows it is whole.
    while start and breaks < 2:  # noqa: PLR2004
        end, start = start, max(0, start - _BLOCK_BYTES)
        file.seek(start)
        blocks.insert(0, file.read(end - start))
        breaks += blocks[0].count(b"\n")
    return b"".join(blocks).split(b"\n")
