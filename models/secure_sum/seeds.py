"""The two seeds of a member in a session, what is derived from them, and their shares for a neighbour.

The mask seed gives the key pair that agrees on masks with neighbours. The self seed gives the mask that
nobody shares. They are random bytes of the operating system: they are secret, and no result depends on them.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from models.secure_sum.primitives.keys import MemberKeys, agree, derive
from models.secure_sum.primitives.sealing import OVERHEAD_BYTES, seal, unseal
from models.secure_sum.primitives.sharing import SEED_BYTES
from models.secure_sum.session import Session

SHARES_BYTES = 2 * SEED_BYTES + OVERHEAD_BYTES


@dataclass(frozen=True)
class Seeds:
    """A member's seeds of one session (16 bytes each). `repr` does not show them."""

    mask: bytes = field(repr=False)
    own: bytes = field(repr=False)

    @classmethod
    def fresh(cls) -> Seeds:
        """Return new random seeds."""
        return cls(secrets.token_bytes(SEED_BYTES), secrets.token_bytes(SEED_BYTES))


@dataclass(frozen=True)
class SeedShares:
    """A neighbour's shares of a member's seeds (16 bytes each). `repr` does not show them."""

    mask: bytes = field(repr=False)
    own: bytes = field(repr=False)


def mask_key(session: Session, name: str, mask_seed: bytes) -> X25519PrivateKey:
    """Return the private key with which a member agrees on masks."""
    return X25519PrivateKey.from_private_bytes(derive(mask_seed, "mask key", session.digest, name))


def commitment(session: Session, name: str, self_seed: bytes) -> str:
    """Return the hexadecimal digest that shows later whether a seed is the member's self seed."""
    return hashlib.sha256(derive(self_seed, "commitment", session.digest, name)).hexdigest()


def self_mask(session: Session, name: str, self_seed: bytes, layout: str) -> bytes:
    """Return the key of a member's own mask; `layout` is the vector's digest of its layout."""
    return derive(self_seed, "self mask", session.digest, name, layout)


def pair_mask(
    session: Session, private: X25519PrivateKey, public: bytes, names: tuple[str, str], layout: str
) -> bytes:
    """Return the key of the mask that two neighbours have in common, from the key pair of either.

    Args:
        session: the sum.
        private: mask key of one of them.
        public: raw public mask key of the other.
        names: both.
        layout: digest of the vector's layout.
    """
    return derive(agree(private, public), "pair mask", session.digest, *sorted(names), layout)


def sign_of(name: str, other: str) -> int:
    """Return 1 if a member adds the mask that it has in common with another one, -1 if it subtracts it."""
    return 1 if name < other else -1


def seal_shares(member: MemberKeys, session: Session, to: str, shares: SeedShares) -> bytes:
    """Return a neighbour's shares of a member's seeds (60 bytes), which only the neighbour can read."""
    key, context = _sealing(member, session, other=to, sender=member.name, to=to)
    return seal(key, shares.mask + shares.own, context)


def unseal_shares(member: MemberKeys, session: Session, sender: str, sealed: bytes) -> SeedShares | None:
    """Return the shares that a neighbour sealed for a member, or None if the bytes are others."""
    key, context = _sealing(member, session, other=sender, sender=sender, to=member.name)
    opened = unseal(key, sealed, context)
    # The lengths are right: the reader of the request has checked that of the sealed bytes.
    return None if opened is None else SeedShares(opened[:SEED_BYTES], opened[SEED_BYTES:])


def _sealing(member: MemberKeys, session: Session, other: str, sender: str, to: str) -> tuple[bytes, bytes]:
    secret = member.agreed(session.cohort.encryption_keys[other])
    return derive(secret, "shares", session.digest, sender, to), session.digest.encode()
