"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """`path` holds `data`; a crash leaves the old content or the new, never a part.

    Args:
        durable: also survive a power cut, at the price of waiting for the disk.
    """
    with _temporary(path, data, durable) as temporary:
        temporary.replace(path)
    if durable:
        sync_folder(path.parent)


def create_exclusively(path: Path, data: bytes) -> None:
    """`path` holds `data` and did not exist before.

    Raises:
        FileExistsError: it did; it is left as it was.
    """
    with _temporary(path, data, durable=True) as temporary:
        # Unlike a rename, a link refuses to replace a file that another process made in the meantime.
        os.link(temporary, path)
    sync_folder(path.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The block writes the file that it gets, which then takes the place of `path`.

    If it raises, `path` is as it was. For files too large to be held in memory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def _temporary(path: Path, data: bytes, durable: bool) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    # Not tempfile's: its files are for their owner's eyes alone, and these shall follow the umask.
    return path.parent / f".{path.name}.{uuid.uuid4().hex}.part"


def sync_folder(folder: Path) -> None:
    """Names that were made or changed in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
