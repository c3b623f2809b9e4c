"""Crash-safe building of folders: a reader sees a whole folder or none."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from models.errors import InvalidInput


@contextlib.contextmanager
def build_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder for the block to fill, then move it to `target`.

    If the block raises, `target` is unchanged. An existing target is replaced by two renames. Only a crash
    between the two leaves no target; the old one is then in a hidden folder in the same parent folder.

    Raises:
        InvalidInput: no folder can be made there.
    """
    # A symbolic link stays a link; the folder it points to is replaced.
    target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InvalidInput(f"{target} cannot be made: {error.strerror}.", path=target) from error
    try:
        new, old = staging / "new", staging / "old"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def is_vacant(path: Path) -> bool:
    """Return whether `path` does not exist or is an empty folder."""
    if path.is_dir():
        return next(path.iterdir(), None) is None
    return not path.exists()
