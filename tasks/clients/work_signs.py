"""Files by which a coordinator sees which late clients still work in another process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Protocol

_EVERY_S = 1.0
# Without a sign for this time, the client's process has ended.
_SILENCE_S = 6.0


class AtWork(Protocol):
    """Something that works until it ends."""

    @property
    def is_at_work(self) -> bool:
        """Whether it still works."""


class WorkSigns:
    """Signs of late clients, in a folder that all processes share.

    Args:
        mark: path whose name the names of the signs begin with.
    """

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def give_while(self, clients: Mapping[str, AtWork]) -> None:
        """Give a sign of each client now and every second until it ends, beside the caller's work."""
        busy = {client_id: each for client_id, each in clients.items() if each.is_at_work}
        if busy:
            self._give(busy)
            Thread(target=self._follow, args=(busy,), name="work-signs", daemon=True).start()

    def is_given(self, client_id: str) -> bool:
        """Return whether there is a sign of this client, which is not too old."""
        now = self._mark
        try:
            # The times of the same file system, whose clock may differ from this machine's.
            now.touch()
            return now.stat().st_mtime - self._sign(client_id).stat().st_mtime < _SILENCE_S
        except OSError:
            return False

    def remove(self) -> None:
        """Delete the mark and all signs."""
        for path in [self._mark, *self._mark.parent.glob(f"{self._mark.name}-*")]:
            with contextlib.suppress(OSError):
                path.unlink()

    def _follow(self, busy: dict[str, AtWork]) -> None:
        # Without its mark, the job has ended.
        while busy and self._mark.exists():
            self._give(busy)
            time.sleep(_EVERY_S)
            for client_id in [each for each, client in busy.items() if not client.is_at_work]:
                del busy[client_id]
                self._take_back(client_id)
        # The last signs may have been given while the job removed all of them.
        for client_id in busy:
            self._take_back(client_id)

    def _give(self, busy: Mapping[str, AtWork]) -> None:
        for client_id in busy:
            with contextlib.suppress(OSError):
                self._sign(client_id).touch()

    def _take_back(self, client_id: str) -> None:
        with contextlib.suppress(OSError):
            self._sign(client_id).unlink()

    def _sign(self, client_id: str) -> Path:
        return self._mark.with_name(f"{self._mark.name}-{client_id}")
