"""Crash-safe writing of files: a reader sees a whole file or none."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_OWNER_ONLY = 0o600


def write_atomically(
    path: Path, data: bytes, *, durable: bool = True, instead_of: Path | None = None
) -> None:
    """Write `data` to `path`, so that a crash leaves the old content or the new, never a part.

    Args:
        path: the file.
        data: its whole content.
        durable: also survive a power cut, at the cost of waiting for the disk.
        instead_of: a file that goes away. It is used again, because to create a file can take ten times as
            long as to write it.
    """
    temporary = _temporary_name(path)
    try:
        if instead_of is not None:
            with contextlib.suppress(FileNotFoundError):
                instead_of.rename(temporary)
        _write(temporary, data, durable)
        os.replace(temporary, path)  # noqa: PTH105  # `temporary` is text
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def create_exclusively(path: Path, data: bytes) -> None:
    """Write `data` to a new file at `path`.

    Raises:
        FileExistsError: the file existed before; it is left unchanged.
    """
    temporary = _temporary_name(path)
    try:
        _write(temporary, data, durable=True)
        # Unlike a rename, a link refuses to replace a file that another process made in the meantime.
        os.link(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    sync_folder(path.parent)


def kept_first(path: Path, data: bytes) -> bytes:
    """Return what the file at `path` holds. If there is none, write `data` to it first.

    A folder that is missing is made, for its owner only.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):  # another process wrote it meanwhile
            create_exclusively(path, data)
    return path.read_bytes()


def create_for_owner_only(path: Path, data: bytes) -> None:
    """Write a secret to a new file at `path`, which nobody but its owner can read at any moment.

    Raises:
        FileExistsError: the file existed before; it is left unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(_temporary_name(path))
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link refuses to replace a file that another process made in the meantime.
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def append(path: Path, data: bytes) -> None:
    """Append `data` to a file that exists. If that fails, as on a full disk, the file is as before.

    A power cut may leave a part of it, unlike `write_atomically`, which takes ten times as long.
    """
    with path.open("r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(size)
            raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file for the block to write, then rename it to `path`.

    If the block raises, `path` is unchanged. For files that are too large to hold in memory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(_temporary_name(path))
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _write(path: str, data: bytes, durable: bool) -> None:
    with _opened(path) as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def _opened(path: str) -> BinaryIO:
    """Open a file for writing, whose folder is made if it is missing."""
    try:
        return open(path, "wb")  # noqa: PTH123
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return open(path, "wb")  # noqa: PTH123


def _temporary_name(path: Path) -> str:
    # Not the tempfile module: only the owner can read its files, while these must follow the umask. Text,
    # because it is needed for each client in each round.
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{uuid.uuid4().hex}.part")  # noqa: PTH118


def sync_file(path: Path) -> None:
    """Write a file that exists to the disk, so that its content survives a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Write the folder's entries to the disk, so that files made or renamed in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
