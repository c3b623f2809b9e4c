"""Notes about running processes, which tell a process from a later one with the same id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tasks.local.atomic import write_atomically


def write_note(path: Path, process: psutil.Process, facts: Mapping[str, Any] | None = None) -> None:
    """Write a note about a process, with further JSON values."""
    owner = {"pid": process.pid, "created": process.create_time()}
    write_atomically(path, json.dumps({**owner, **(facts or {})}).encode(), durable=False)


def read_note(path: Path) -> tuple[psutil.Process, dict[str, Any]] | None:
    """Return the noted process and the note, or None if there is no note or the process is gone."""
    try:
        written = json.loads(path.read_bytes())
        process = psutil.Process(written["pid"])
        # The process id alone may belong to another process by now.
        is_same = process.create_time() == written["created"] and process.status() != psutil.STATUS_ZOMBIE
    # A power cut may have destroyed the note, but then its process is gone as well.
    except (psutil.Error, ValueError, KeyError, TypeError, FileNotFoundError):
        return None
    return (process, written) if is_same else None
