"""The key pair with which a silo signs its answers, and the reading and writing of public keys.

Ed25519 (RFC 8032) from the `cryptography` package, in PEM files; the private key is in PKCS #8.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from models.errors import CorruptArtifact, InvalidInput, NotFound
from tasks.local.atomic import create_for_owner_only, write_atomically
from tasks.local.home import Home

_KEY_ID_DIGITS = 16
# The group may read, because mounted secrets need that; only the owner may write, and others may do neither.
_TOO_OPEN = 0o027
_PRIVATE, _PUBLIC = "private.pem", "public.pem"


@dataclass(frozen=True)
class SiloKey:
    """A silo's own key pair.

    Attributes:
        private: signs; it never leaves the silo, and `repr` does not show it.
        file: path of the private key.
    """

    private: Ed25519PrivateKey = field(repr=False)
    file: Path

    @property
    def public(self) -> Ed25519PublicKey:
        """The public key, with which the coordinator verifies signatures."""
        return self.private.public_key()

    @property
    def public_file(self) -> Path:
        """Path of the public key, which the coordinator needs."""
        return self.file.with_name(_PUBLIC)

    @property
    def key_id(self) -> str:
        """Short name of the pair."""
        return key_id(self.public)

    def sign(self, data: bytes) -> bytes:
        """Return the signature (64 bytes) of `data`; equal data have equal signatures."""
        return self.private.sign(data)


def key_id(public: Ed25519PublicKey) -> str:
    """Return the first 16 hexadecimal digits of the key's fingerprint."""
    return fingerprint(public)[:_KEY_ID_DIGITS]


def fingerprint(public: Ed25519PublicKey) -> str:
    """Return the hexadecimal SHA-256 of the raw public key."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()


def verify(public: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    """Return whether the holder of the private key to `public` signed `data`."""
    try:
        public.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def make_key(home: Home, *, force: bool = False) -> SiloKey:
    """Make a new key pair for the silo of this home.

    Args:
        home: of the silo.
        force: rename an existing pair, to names that contain its key id, instead of refusing.

    Raises:
        InvalidInput: the silo has a pair, and `force` is false.
    """
    folder = _folder(home)
    # The folder is private too, because even the key ids of old pairs concern only the owner.
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / _PRIVATE
    if force and file.exists():
        _put_aside(home, file)
    key = SiloKey(Ed25519PrivateKey.generate(), file)
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        create_for_owner_only(file, pem)
    except FileExistsError as error:
        present = load_key(home)
        # The process that made the pair may have been killed before it wrote the public key.
        write_atomically(present.public_file, public_pem(present.public))
        raise InvalidInput(
            f"This silo already has a key pair: {present.key_id} in {folder}.",
            next_step=f"Give the coordinator {present.public_file}. Or make a new pair with --force and send "
            "its public key to every coordinator that trusts the old one.",
            key_id=present.key_id,
        ) from error
    write_atomically(key.public_file, public_pem(key.public))
    return key


def load_key(home: Home) -> SiloKey:
    """Return the key pair of the silo of this home.

    Raises:
        NotFound: the silo has no key pair.
        InvalidInput: the file's mode lets others than its owner and group read it, or others than its owner
            write it.
        CorruptArtifact: the file does not contain an Ed25519 key.
    """
    file = _folder(home) / _PRIVATE
    try:
        mode = file.stat().st_mode & 0o777
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(
            f"This silo has no key pair: {file} does not exist.",
            next_step="Make one with fedrec silo enrol --name NAME.",
        ) from error
    if mode & _TOO_OPEN:
        raise InvalidInput(
            f"The private key {file} has mode {mode:04o}: others than its owner can access it.",
            next_step=f"Run chmod 600 {file}. If others have read it, make a new pair with "
            "fedrec silo enrol --force.",
            mode=mode,
        )
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(file) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _no_key(file)
    return SiloKey(private, file)


def own_key_ids(home: Home) -> frozenset[str]:
    """Return the ids of the silo's key pair and of the pairs that it replaced.

    Raises:
        InvalidInput: a file does not contain a public key.
    """
    files = sorted(_folder(home).glob(f"{Path(_PUBLIC).stem}*.pem"))
    return frozenset(key_id(read_public(file.read_bytes(), str(file))) for file in files)


def public_pem(public: Ed25519PublicKey) -> bytes:
    """Return a public key as a PEM file."""
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_expected(data: bytes, origin: str, expected: str | None) -> Ed25519PublicKey:
    """Return the public key that `public_pem` wrote, if it has the fingerprint that its owner told.

    Args:
        data: the file's bytes.
        origin: the file's name in error messages.
        expected: the fingerprint; None accepts any key.

    Raises:
        InvalidInput: the bytes are not an Ed25519 public key, or the key has another fingerprint.
    """
    public = read_public(data, origin)
    found = fingerprint(public)
    if expected is not None and expected.strip().lower() != found:
        raise InvalidInput(
            f"The key in {origin} has the fingerprint {found}, not {expected}.",
            next_step="Ask the silo's owner for the key again, over another channel.",
        )
    return public


def read_public(data: bytes, origin: str) -> Ed25519PublicKey:
    """Return the public key that `public_pem` wrote.

    Args:
        data: the file's bytes.
        origin: the file's name in error messages.

    Raises:
        InvalidInput: the bytes are not an Ed25519 public key; the message says so if they hold a private key.
    """
    if b"PRIVATE KEY" in data:
        raise InvalidInput(
            f"{origin} contains a private key, which must never leave its silo.",
            next_step="Make a new pair there with fedrec silo enrol --force, and send only its public.pem.",
        )
    try:
        public = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput(f"{origin} does not contain a public key in PEM form.") from error
    if not isinstance(public, Ed25519PublicKey):
        raise InvalidInput(f"{origin} contains a public key of another kind than Ed25519.")
    return public


def _folder(home: Home) -> Path:
    return home.root / "keys"


def _put_aside(home: Home, file: Path) -> None:
    try:
        old = load_key(home).key_id
    except (InvalidInput, CorruptArtifact):
        # A damaged key is kept too, because someone may want to examine it.
        old = "damaged-" + hashlib.sha256(file.read_bytes()).hexdigest()[:_KEY_ID_DIGITS]
    # The private key is renamed last, because the pair counts as present while it exists.
    for each in (file.with_name(_PUBLIC), file):
        if each.exists():
            each.rename(each.with_name(f"{each.stem}-{old}.pem"))


def _no_key(file: Path) -> CorruptArtifact:
    return CorruptArtifact(
        f"{file} does not contain an Ed25519 private key in PEM form without a password.",
        next_step="Restore it from a backup, or make a new pair with fedrec silo enrol --force.",
    )
