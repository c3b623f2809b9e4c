"""The note about the Prefect server that `fedrec up` runs for a home, by which commands find it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.local.home import Home

if TYPE_CHECKING:
    import psutil


@dataclass(frozen=True)
class ServerNote:
    """A running server of a home.

    Attributes:
        process: of the server.
        url: its address, without a slash at its end.
        since: when it was started, as ISO 8601 in UTC.
        is_ready: whether it has answered.
    """

    process: psutil.Process
    url: str
    since: str
    is_ready: bool

    @property
    def api_url(self) -> str:
        """Return the address of Prefect's API."""
        return f"{self.url}/api"

    def to_json(self) -> dict[str, Any]:
        """Return what commands print about it."""
        return {"pid": self.process.pid, "url": self.url, "api_url": self.api_url, "since": self.since}


def note_path(home: Home) -> Path:
    """Return the file of the note."""
    return home.prefect / "server.json"


def noted_server(home: Home) -> ServerNote | None:
    """Return the noted server, ready or not; None if there is no note or its process is gone."""
    path = note_path(home)
    if not path.exists():
        return None
    from tasks.local.process_note import read_note

    found = read_note(path)
    return None if found is None else _of(*found)


def running_server(home: Home) -> ServerNote | None:
    """Return the home's server if it has answered, or None."""
    found = noted_server(home)
    return found if found is not None and found.is_ready else None


def _of(process: psutil.Process, written: Mapping[str, Any]) -> ServerNote | None:
    try:
        return ServerNote(process, str(written["url"]), str(written["since"]), bool(written["is_ready"]))
    except KeyError:
        return None
