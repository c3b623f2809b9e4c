"""The secret key from which a client draws its noise.

With it a repeated round sends the same bytes. A client that loses it draws other noise for a round that it
sent before, and both together tell more than the job reserved. Whoever reads it can take the noise off what
the client sent.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from models.errors import CorruptArtifact, InvalidInput
from models.secure_sum.primitives.keys import KEY_BYTES
from tasks.local.atomic import create_for_owner_only

_NAME = "noise.key"
_OTHERS = 0o077


def noise_key(folder: Path) -> bytes:
    """Return the key (32 bytes) in a client's private folder. The first call makes it.

    Raises:
        InvalidInput: others than its owner can access the file.
        CorruptArtifact: the file does not contain a key.
    """
    path = folder / _NAME
    if not path.exists():
        # Another process may make it in the meantime, and then that one counts.
        with contextlib.suppress(FileExistsError):
            create_for_owner_only(path, secrets.token_bytes(KEY_BYTES))
    mode = path.stat().st_mode & 0o777
    if mode & _OTHERS:
        raise InvalidInput(
            f"The key of a client's noise {path} has mode {mode:04o}: others than its owner can access it.",
            next_step=f"Run chmod 600 {path}. Who has read it can take the noise off the client's updates.",
            path=path,
            mode=mode,
        )
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise CorruptArtifact(
            f"The key of a client's noise {path} has {len(key)} bytes, expected {KEY_BYTES}.",
            next_step="Restore it from a backup. With another key a continued job would spend more privacy "
            "than it reserved, so remove it for new jobs only.",
            path=path,
        )
    return key
