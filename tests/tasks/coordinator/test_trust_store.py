"""The coordinator's trusted keys: one key a silo, one silo a key, and no silent change."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.errors import InvalidInput, NotFound
from tasks.coordinator.trust_store import TrustStore
from tasks.local.home import Home
from tasks.silos.keys import key_id


@pytest.fixture
def store(tmp_path: Path) -> TrustStore:
    return TrustStore(Home(tmp_path / "coordinator"))


def public() -> Ed25519PublicKey:
    return Ed25519PrivateKey.generate().public_key()


def test_trusted_keys_are_found_by_name(store):
    ash, birch = public(), public()
    assert store.keys() == {}
    assert store.trust("birch", birch) is None
    assert store.trust("ash.de", ash) is None
    assert store.key_of("ash.de") == ash
    assert list(store.keys().items()) == [("ash.de", ash), ("birch", birch)]
    # Another process reads the same.
    assert TrustStore(store.home).key_of("birch") == birch


def test_trusting_the_same_key_again_changes_nothing(store):
    key = public()
    store.trust("ash", key)
    assert store.trust("ash", key) is None
    assert store.trust("ash", key, force=True) is None
    assert store.key_of("ash") == key


def test_another_key_is_refused_unless_forced(store):
    old, new = public(), public()
    store.trust("ash", old)
    with pytest.raises(InvalidInput, match="--force") as caught:
        store.trust("ash", new)
    assert (caught.value.before, caught.value.now) == (key_id(old), key_id(new))
    assert store.key_of("ash") == old
    assert store.trust("ash", new, force=True) == key_id(old)
    assert store.key_of("ash") == new


@pytest.mark.parametrize("force", [False, True])
def test_one_key_speaks_for_one_silo(store, force):
    key = public()
    store.trust("ash", key)
    with pytest.raises(InvalidInput, match="'ash'"):
        store.trust("birch", key, force=force)
    assert list(store.keys()) == ["ash"]


def test_a_removed_silo_is_not_trusted(store):
    key = public()
    store.trust("ash", key)
    assert store.remove("ash") == key_id(key)
    for act in (store.key_of, store.remove):
        with pytest.raises(NotFound, match="fedrec trust ash FILE") as caught:
            act("ash")
        assert caught.value.silo == "ash"


@pytest.mark.parametrize("name", ["", "../ash", "a/b", ".ash", "Ash", "a" * 201, "ash\n"])
def test_a_silo_s_name_is_a_client_id(store, name):
    for act in (lambda: store.trust(name, public()), lambda: store.key_of(name), lambda: store.remove(name)):
        with pytest.raises(InvalidInput, match="not a valid silo name"):
            act()
    assert not store.home.root.exists()


def test_a_damaged_file_is_named(store):
    store.trust("ash", public())
    (store.home.root / "trusted_silos" / "ash.pem").write_bytes(b"damaged")
    with pytest.raises(InvalidInput, match=r"ash\.pem does not contain a public key"):
        store.key_of("ash")
