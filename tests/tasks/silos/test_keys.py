"""Key pairs: made once, readable by their owner alone, and proof of who signed."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from models.errors import CorruptArtifact, InvalidInput, NotFound
from tasks.local.home import Home
from tasks.silos.keys import key_id, load_key, make_key, public_pem, read_public, verify

# RFC 8032, section 7.1, test 2.
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


@pytest.fixture
def silo(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


def private_file(silo: Home) -> Path:
    return silo.root / "keys" / "private.pem"


def store(silo: Home, private: bytes) -> None:
    private_file(silo).parent.mkdir(parents=True)
    private_file(silo).write_bytes(private)
    private_file(silo).chmod(0o600)


def as_pem(private, encryption=None) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def test_signatures_are_those_of_the_standard(silo):
    store(silo, as_pem(Ed25519PrivateKey.from_private_bytes(SECRET)))
    key = load_key(silo)
    assert key.sign(b"\x72") == SIGNATURE
    assert key.public == Ed25519PublicKey.from_public_bytes(PUBLIC)
    assert key.key_id == hashlib.sha256(PUBLIC).hexdigest()[:16]


def test_a_signature_needs_the_key_and_the_same_bytes():
    public = Ed25519PublicKey.from_public_bytes(PUBLIC)
    assert verify(public, SIGNATURE, b"\x72")
    assert not verify(public, SIGNATURE, b"\x73")
    assert not verify(public, SIGNATURE[:-1], b"\x72")
    assert not verify(public, b"", b"\x72")
    assert not verify(Ed25519PrivateKey.generate().public_key(), SIGNATURE, b"\x72")


def test_a_pair_is_readable_by_its_owner_only_and_is_kept(silo):
    old_mask = os.umask(0)
    try:
        made = make_key(silo)
    finally:
        os.umask(old_mask)
    assert made.file == private_file(silo)
    assert made.file.stat().st_mode & 0o777 == 0o600
    assert made.file.parent.stat().st_mode & 0o777 == 0o700
    assert load_key(silo).public == made.public
    assert read_public(made.public_file.read_bytes(), "it") == made.public
    assert sorted(path.name for path in made.file.parent.iterdir()) == ["private.pem", "public.pem"]


def test_openssl_reads_the_files(silo):
    made = make_key(silo)
    command = ["openssl", "pkey", "-in", str(made.file), "-pubout"]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert done.stdout == made.public_file.read_bytes()


def test_two_pairs_differ(tmp_path):
    assert make_key(Home(tmp_path / "a")).key_id != make_key(Home(tmp_path / "b")).key_id


def test_a_pair_is_not_overwritten_without_force(silo):
    made = make_key(silo)
    before = made.file.read_bytes()
    with pytest.raises(InvalidInput, match="already") as caught:
        make_key(silo)
    assert caught.value.key_id == made.key_id
    assert made.file.read_bytes() == before


def test_force_keeps_a_copy_of_the_old_pair(silo):
    old = make_key(silo)
    private, public = old.file.read_bytes(), old.public_file.read_bytes()
    new = make_key(silo, force=True)
    assert new.key_id != old.key_id
    assert load_key(silo).key_id == new.key_id
    folder = old.file.parent
    assert (folder / f"private-{old.key_id}.pem").read_bytes() == private
    assert (folder / f"private-{old.key_id}.pem").stat().st_mode & 0o777 == 0o600
    assert (folder / f"public-{old.key_id}.pem").read_bytes() == public


def test_force_keeps_even_a_damaged_key(silo):
    store(silo, b"damaged")
    make_key(silo, force=True)
    (kept,) = private_file(silo).parent.glob("private-damaged-*.pem")
    assert kept.read_bytes() == b"damaged"


def test_force_without_a_pair_makes_the_first(silo):
    assert make_key(silo, force=True).key_id == load_key(silo).key_id


def test_a_public_key_lost_in_a_crash_is_written_later(silo):
    made = make_key(silo)
    made.public_file.unlink()
    with pytest.raises(InvalidInput):
        make_key(silo)
    assert made.public_file.read_bytes() == public_pem(made.public)


def test_without_a_pair_the_next_step_is_to_enrol(silo):
    with pytest.raises(NotFound, match="fedrec silo enrol"):
        load_key(silo)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602])
def test_a_key_that_others_can_read_is_not_used(silo, mode):
    make_key(silo)
    private_file(silo).chmod(mode)
    with pytest.raises(InvalidInput, match="chmod 600") as caught:
        load_key(silo)
    assert caught.value.mode == mode


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_key_that_a_group_may_read_is_used(silo, mode):
    made = make_key(silo)
    private_file(silo).chmod(mode)
    assert load_key(silo).key_id == made.key_id


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"damaged",
        as_pem(X25519PrivateKey.generate()),
        as_pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
        public_pem(Ed25519PublicKey.from_public_bytes(PUBLIC)),
    ],
    ids=["empty", "damaged", "of another kind", "with a password", "public"],
)
def test_a_file_without_a_usable_key_is_refused(silo, content):
    store(silo, content)
    with pytest.raises(CorruptArtifact, match="not contain an Ed25519 private key"):
        load_key(silo)


def test_public_keys_round_trip():
    public = Ed25519PublicKey.from_public_bytes(PUBLIC)
    assert read_public(public_pem(public), "it") == public
    assert key_id(read_public(public_pem(public), "it")) == key_id(public)


def test_a_private_key_is_not_accepted_as_a_public_one():
    with pytest.raises(InvalidInput, match="must never leave its silo") as caught:
        read_public(as_pem(Ed25519PrivateKey.from_private_bytes(SECRET)), "key.pem")
    assert "key.pem" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"damaged", public_pem(Ed25519PublicKey.from_public_bytes(PUBLIC))[:60]]
)
def test_a_file_without_a_public_key_is_refused(content):
    with pytest.raises(InvalidInput, match="not contain a public key in PEM form"):
        read_public(content, "key.pem")


def test_a_public_key_of_another_kind_is_refused():
    other = X25519PrivateKey.generate().public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(InvalidInput, match="another kind than Ed25519"):
        read_public(pem, "key.pem")


def test_no_message_shows_the_private_key(silo):
    made = make_key(silo)
    assert "Ed25519PrivateKey" not in repr(made)
    secret = made.file.read_text().splitlines()[1]
    with pytest.raises(InvalidInput) as caught:
        make_key(silo)
    assert secret not in str(caught.value)
