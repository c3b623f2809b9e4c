"""A ledger on disk: a file of chained lines to which entries are only appended.

Each line is one entry of `models.ledger.chain`. An entry counts once its whole line is on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
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
    """The content of a ledger's file.

    Attributes:
        entries: the whole entries, in order, not yet verified as a chain.
        torn: the bytes of an incomplete last line, whose writing was interrupted; empty if there is none.
    """

    entries: list[Entry]
    torn: bytes = b""


@dataclass(frozen=True)
class ChainedFile:
    """A ledger at one path, which need not exist yet.

    Attributes:
        path: of the file; the lock file is in the same folder.
        ledger: the ledger's name in error messages.
        writer: what error messages call a process that writes to it.
        torn_log: name of the file, in the same folder, that receives torn last lines.
    """

    path: Path
    ledger: str
    writer: str = "process"
    torn_log: str = "torn.log"

    @contextmanager
    def locked(self, timeout_s: float = _LOCK_TIMEOUT_S) -> Iterator[None]:
        """Hold the ledger's lock while the block runs, so that no other thread or process writes to it.

        Raises:
            JobBusy: another writer held the lock for `timeout_s` seconds.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_suffix(".lock"), timeout=timeout_s, poll_interval=_LOCK_POLL_S)
        try:
            lock.acquire()
        except Timeout as error:
            raise JobBusy(
                f"Another {self.writer} held the lock {lock.lock_file} for {timeout_s:g} s.",
                next_step="Wait until it has finished, then run this command again.",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def read(self) -> LedgerFile:
        """Return the ledger's entries; an empty list if there is no file yet.

        Raises:
            LedgerTampered: a whole line is not an entry.
        """
        if not self.path.exists():
            return LedgerFile([])
        *lines, torn = self.path.read_bytes().split(b"\n")
        return LedgerFile([self._parse(line, at) for at, line in enumerate(lines, start=1)], torn)

    def append(self, body: Mapping[str, Any], *, durable: bool = True) -> Entry:
        """Append an entry with this body, as `append_all` does."""
        return self.append_all([body], durable=durable)[0]

    def append_all(self, bodies: Sequence[Mapping[str, Any]], *, durable: bool = True) -> list[Entry]:
        """Append an entry with each body and write them to the disk. Call it only within `locked`.

        A torn last line is moved to `torn_log` first. Its writer stopped before it acted on the entry.

        Args:
            bodies: the entries'.
            durable: also survive a power cut, at the cost of waiting for the disk.

        Raises:
            LedgerTampered: the last line is not an entry.
        """
        last, torn = self._tail()
        if torn:
            self._put_aside(torn)
        entries = []
        for body in bodies:
            last = chain.follow(last, body)
            entries.append(last)
        is_new = not self.path.exists()
        with self.path.open("ab") as file:
            file.write(b"".join(entry.line().encode() + b"\n" for entry in entries))
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if is_new:
            sync_folder(self.path.parent)
        return entries

    def last(self) -> Entry | None:
        """Return the newest whole entry, or None if there is none yet.

        Raises:
            LedgerTampered: the last line is not an entry.
        """
        return self._tail()[0]

    def _tail(self) -> tuple[Entry | None, bytes]:
        """Return the last whole entry and the torn bytes after it; reads only the end of the file."""
        if not self.path.exists():
            return None, b""
        with self.path.open("rb") as file:
            *lines, torn = _last_lines(file)
        if not lines:
            return None, torn
        try:
            return self._parse(lines[-1], 0), torn
        except LedgerTampered:
            # Reading the whole file raises the same error with the line's position.
            self.read()
            raise

    def _parse(self, line: bytes, position: int) -> Entry:
        try:
            return chain.parse(line.decode(), position, ledger=self.ledger)
        except UnicodeDecodeError:
            # What cannot be decoded cannot be parsed either; the chain has the wording of that error.
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
    """Return the end of the file, split at line breaks; the last whole line is part of it."""
    start = file.seek(0, os.SEEK_END)
    blocks: list[bytes] = []
    breaks = 0
    # The first of two line breaks ends the previous line, so the line after it is whole.
    while start and breaks < 2:  # noqa: PLR2004
        end, start = start, max(0, start - _BLOCK_BYTES)
        file.seek(start)
        blocks.insert(0, file.read(end - start))
        breaks += blocks[0].count(b"\n")
    return b"".join(blocks).split(b"\n")
