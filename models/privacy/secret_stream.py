"""Secret random numbers that can be drawn again: a keystream of ChaCha20 (RFC 8439) for each purpose."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from models.secure_sum.primitives.keys import KEY_BYTES, derive

Words = npt.NDArray[np.uint64]

# Each key encrypts one stream, so the nonce need not differ.
_NONCE = bytes(16)
_WORD_BYTES = 8


class SecretStream:
    """Random numbers for one purpose, which nobody without the key can tell from others.

    Equal keys and scopes give equal numbers on every machine.

    Args:
        key: the secret, of 32 random bytes.
        *scope: everything that makes the use unique, from general to specific.

    Raises:
        ValueError: the key has another length.
    """

    def __init__(self, key: bytes, *scope: str) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"A key of noise has {len(key)} bytes, expected {KEY_BYTES}.")
        own = derive(key, "noise", *scope)
        self._keystream = Cipher(algorithms.ChaCha20(own, _NONCE), mode=None).encryptor()

    def words(self, count: int) -> Words:
        """Return the next numbers, uniform in 0 to 2^64 - 1, (count,) uint64."""
        data = self._keystream.update(bytes(count * _WORD_BYTES))
        return np.frombuffer(data, dtype="<u8").astype(np.uint64, copy=False)
