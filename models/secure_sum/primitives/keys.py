"""Keys of a member, and what two members derive from theirs.

X25519, HKDF with SHA-256 and Ed25519 are those of the `cryptography` package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_CONTEXT = b"fedrec secure sum 1"
_ANY_KEY = X25519PrivateKey.from_private_bytes(bytes(range(KEY_BYTES)))


@dataclass(frozen=True)
class MemberKeys:
    """A member's own keys. `repr` shows none of them.

    Attributes:
        name: of the member.
        identity: signs what the member says.
        encryption: of one job; other members agree with it on keys for what they send each other.
    """

    name: str
    identity: Ed25519PrivateKey = field(repr=False)
    encryption: X25519PrivateKey = field(repr=False)
    # An agreement is the same in all sessions of a job, and takes as long as all else that needs it.
    _agreed: dict[bytes, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def agreed(self, public: bytes) -> bytes:
        """Return the secret of this member's encryption key and another member's (X25519, RFC 7748)."""
        if public not in self._agreed:
            self._agreed[public] = agree(self.encryption, public)
        return self._agreed[public]


def agree(private: X25519PrivateKey, public: bytes) -> bytes:
    """Return the secret (32 bytes) that two keys have in common; `is_usable` holds for the public one."""
    return private.exchange(X25519PublicKey.from_public_bytes(public))


@lru_cache(maxsize=1 << 14)
def is_usable(public: bytes) -> bool:
    """Return whether bytes are a public key of X25519 with which a secret can be agreed.

    A few points of small order give all zeros with every private key (RFC 7748, section 6.1).
    """
    try:
        agree(_ANY_KEY, public)
    except ValueError:
        return False
    return True


def derive(secret: bytes, purpose: str, *context: str, size: int = KEY_BYTES) -> bytes:
    """Return a key (`size` bytes) for one purpose from a secret (HKDF, RFC 5869).

    Args:
        secret: from which the key is derived.
        purpose: what the key is for.
        *context: everything that makes the use unique: session, names.
        size: number of bytes.
    """
    # Each part follows its length, so that no two lists of parts give the same bytes.
    info = _CONTEXT
    for part in (purpose, *context):
        text = part.encode()
        info += len(text).to_bytes(4, "big") + text
    return HKDF(SHA256(), size, salt=None, info=info).derive(secret)
