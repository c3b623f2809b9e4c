"""Damage to a stored object, and how the exchange treats it on every kind of storage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.errors import CorruptArtifact
from tasks.exchange.store import ArtifactRef, Exchange

WHOLE = b"model"
# Name -> (the bytes after it, what the error says).
DAMAGES = {
    "a bit flipped": (bytes([WHOLE[0] ^ 1]) + WHOLE[1:], "has SHA-256"),
    "truncated": (WHOLE[:-1], "has 4 bytes, expected 5"),
    "emptied": (b"", "has 0 bytes, expected 5"),
    "longer": (WHOLE + b"x", "has 6 bytes, expected 5"),
}


def assert_refused_and_mended(
    exchange: Exchange, damage: str, overwrite: Callable[[ArtifactRef, bytes], object]
) -> ArtifactRef:
    """Assert that a damaged object is refused and that storing it again mends it.

    Args:
        exchange: an empty exchange.
        damage: a key of `DAMAGES`.
        overwrite: puts bytes in the place of an object, past the exchange.

    Returns:
        The reference of the object.
    """
    damaged, message = DAMAGES[damage]
    ref = exchange.put("job/models", WHOLE)
    overwrite(ref, damaged)
    with pytest.raises(CorruptArtifact, match=message) as caught:
        exchange.get(ref)
    assert caught.value.path == ref.path
    exchange.put("job/models", WHOLE)
    assert exchange.get(ref) == WHOLE
    return ref
