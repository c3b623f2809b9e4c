"""Bytes that the coordinator relays and cannot read: ChaCha20-Poly1305 (RFC 8439)."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

NONCE_BYTES = 12
OVERHEAD_BYTES = NONCE_BYTES + 16


def seal(key: bytes, data: bytes, context: bytes) -> bytes:
    """Return encrypted bytes, longer by `OVERHEAD_BYTES`; they open with the same key and context only."""
    # The nonce is random, because a member that crashed may seal other bytes with the same key.
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, data, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes | None:
    """Return the bytes that `seal` encrypted, or None if the key or context differs or a byte was changed."""
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
    except InvalidTag:
        return None
