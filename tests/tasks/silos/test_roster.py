"""The roster: an owner's list of the silos that may be in sums with the owner's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.errors import InvalidInput, NotFound
from tasks.local.home import Home
from tasks.silos.keys import key_id
from tasks.silos.roster import add_member, read_roster, remove_member


def new_key() -> Ed25519PublicKey:
    return Ed25519PrivateKey.generate().public_key()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


def test_members_are_read_as_they_were_added_sorted_by_name(home: Home) -> None:
    assert read_roster(home) == {}
    keys = {name: new_key() for name in ("cedar", "ash", "birch.north")}
    for name, key in keys.items():
        assert add_member(home, name, key) is None
    assert read_roster(home) == keys
    assert list(read_roster(home)) == ["ash", "birch.north", "cedar"]
    remove_member(home, "ash")
    assert set(read_roster(home)) == {"birch.north", "cedar"}


def test_a_key_is_replaced_only_by_force(home: Home) -> None:
    first, second = new_key(), new_key()
    add_member(home, "ash", first)
    assert add_member(home, "ash", first) is None
    with pytest.raises(InvalidInput, match=key_id(first)) as caught:
        add_member(home, "ash", second)
    assert "--force" in str(caught.value)
    assert read_roster(home) == {"ash": first}
    assert add_member(home, "ash", second, force=True) == key_id(first)
    assert read_roster(home) == {"ash": second}


@pytest.mark.parametrize("force", [False, True])
def test_no_two_members_have_one_key(home: Home, force: bool) -> None:
    """One silo under two names would make a cohort look larger than it is."""
    key = new_key()
    add_member(home, "ash", key)
    with pytest.raises(InvalidInput, match="belongs to 'ash'"):
        add_member(home, "birch", key, force=force)
    assert set(read_roster(home)) == {"ash"}


def test_a_file_that_is_no_key_is_named(home: Home) -> None:
    add_member(home, "ash", new_key())
    (home.root / "roster" / "birch.pem").write_text("no key")
    with pytest.raises(InvalidInput, match=r"birch\.pem"):
        read_roster(home)


def test_removing_nobody_is_refused(home: Home) -> None:
    with pytest.raises(NotFound, match="no 'ash'") as caught:
        remove_member(home, "ash")
    assert "nobody" in str(caught.value)
    add_member(home, "birch", new_key())
    with pytest.raises(NotFound) as caught:
        remove_member(home, "ash")
    assert "birch" in str(caught.value)
