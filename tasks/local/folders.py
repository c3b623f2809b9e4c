"""Folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from models.errors import InvalidInput


@contextlib.contextmanager
def build_folder(target: Path) -> Iterator[Path]:
    """`target` is the folder that the block filled; if the block raises, `target` is as it was before.

    The block gets an empty folder beside the target. An existing target is replaced by two renames: only a
    crash between them leaves no target, and then the old one lies in the hidden folder beside it.

    Raises:
        InvalidInput: no folder can be made there.
    """
    # A symbolic link stays one; what it points to is replaced.
    target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InvalidInput(f"{target} cannot be made: {error.strerror}.", path=target) from error
    try:
        new, old = workshop / "new", workshop / "old"
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
        shutil.rmtree(workshop, ignore_errors=True)


def is_vacant(path: Path) -> bool:
    """Whether nothing is at `path`, or only an empty folder."""
    if path.is_dir():
        return next(path.iterdir(), None) is None
    return not path.exists()
