"""The roster: the public keys of the silos with which a silo takes part in secure sums, in PEM files.

An owner adds keys that the other owners gave, never those that a coordinator sent: a coordinator that could
add members would invent all others, and learn the silo's summand from the sum.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import InvalidInput, NotFound
from tasks.local.atomic import write_atomically
from tasks.local.home import Home
from tasks.silos.keys import key_id, load_key, public_pem, read_public

_ENDING = ".pem"


def read_roster(home: Home) -> dict[str, Ed25519PublicKey]:
    """Return name -> public key of all members, sorted by name; empty without a roster.

    Raises:
        InvalidInput: a file is not a public key.
    """
    return {
        path.name.removesuffix(_ENDING): read_public(path.read_bytes(), str(path))
        for path in sorted(_folder(home).glob(f"*{_ENDING}"))
    }


def add_member(home: Home, name: str, public: Ed25519PublicKey, *, force: bool = False) -> str | None:
    """Add a member, or replace its key if `force`; return the id of the key that was replaced.

    Raises:
        InvalidInput: the member has another key, or another member or this silo has this one.
    """
    if public == own_public(home):
        raise InvalidInput(
            f"Key {key_id(public)} is this silo's own, and the roster has the other silos only.",
            next_step=f"Ask the owner of {name!r} for its public.pem.",
        )
    roster = read_roster(home)
    before = roster.get(name)
    for other, known in roster.items():
        if other != name and known == public:
            raise InvalidInput(
                f"Key {key_id(public)} belongs to {other!r} in the roster, and no two members have one key.",
                next_step=f"Ask the owner of {name!r} for its own public.pem.",
            )
    if before is not None and before != public and not force:
        raise InvalidInput(
            f"The roster has key {key_id(before)} of {name!r}, not {key_id(public)}.",
            next_step="Ask its owner whether the key is new, and repeat with --force.",
        )
    write_atomically(_folder(home) / f"{name}{_ENDING}", public_pem(public))
    return key_id(before) if before is not None and before != public else None


def own_public(home: Home) -> Ed25519PublicKey | None:
    """Return the silo's own public key; None before it has one."""
    try:
        return load_key(home).public
    except NotFound:
        return None


def remove_member(home: Home, name: str) -> None:
    """Remove a member.

    Raises:
        NotFound: there is no such member.
    """
    try:
        (_folder(home) / f"{name}{_ENDING}").unlink()
    except FileNotFoundError as error:
        raise NotFound(
            f"The roster has no {name!r}.", next_step=f"It has {', '.join(read_roster(home)) or 'nobody'}."
        ) from error


def _folder(home: Home) -> Path:
    return home.root / "roster"
