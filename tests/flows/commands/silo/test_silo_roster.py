"""`fedrec silo roster` as an owner calls it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.silos.keys import public_pem
from tests.flows.commands.silo.test_silo import answered, fedrec, refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def key_file(folder: Path, name: str) -> tuple[Path, str]:
    """Return a new public key's file, and the key's fingerprint."""
    public = Ed25519PrivateKey.generate().public_key()
    path = folder / f"{name}.pem"
    path.write_bytes(public_pem(public))
    return path, hashlib.sha256(public.public_bytes_raw()).hexdigest()


def test_an_owner_adds_lists_and_removes_members(folder: Path) -> None:
    ash, fingerprint = key_file(folder, "ash")
    birch, other = key_file(folder, "birch")
    assert "roster is empty" in fedrec(folder, "silo", "roster").stdout
    added = answered(fedrec(folder, "silo", "roster", "ash", str(ash), "--json"))
    assert added == {"name": "ash", "key_id": fingerprint[:16], "fingerprint": fingerprint, "replaced": None}
    shown = fedrec(folder, "silo", "roster", "birch", "-", input=birch.read_text())
    # Without a fingerprint the owner is to compare it.
    assert other in shown.stdout
    listed = answered(fedrec(folder, "silo", "roster", "--json"))["members"]
    assert [(each["name"], each["fingerprint"]) for each in listed] == [
        ("ash", fingerprint),
        ("birch", other),
    ]
    assert answered(fedrec(folder, "silo", "roster", "ash", "--remove", "--json")) == {"name": "ash"}
    assert "birch" in refused(fedrec(folder, "silo", "roster", "ash", "--remove"), 2)


def test_a_key_is_added_only_with_the_expected_fingerprint(folder: Path) -> None:
    path, fingerprint = key_file(folder, "ash")
    wrong = fedrec(folder, "silo", "roster", "ash", str(path), "--fingerprint", "0" * 64)
    assert f"has the fingerprint {fingerprint}" in refused(wrong, 2)
    assert answered(fedrec(folder, "silo", "roster", "--json")) == {"members": []}
    right = ("--fingerprint", f" {fingerprint.upper()}")
    assert answered(fedrec(folder, "silo", "roster", "ash", str(path), *right, "--json"))["name"] == "ash"


def test_another_key_needs_force(folder: Path) -> None:
    old, fingerprint = key_file(folder, "old")
    new, _ = key_file(folder, "new")
    answered(fedrec(folder, "silo", "roster", "ash", str(old), "--json"))
    assert "--force" in refused(fedrec(folder, "silo", "roster", "ash", str(new)), 2)
    forced = fedrec(folder, "silo", "roster", "ash", str(new), "--force")
    assert f"It replaces key {fingerprint[:16]}." in forced.stdout


def test_a_silo_is_no_member_of_its_own_roster(folder: Path) -> None:
    answered(fedrec(folder, "silo", "enrol", "--name", "ash", "--json"))
    own = folder / "silo" / "keys" / "public.pem"
    assert "is this silo's own" in refused(fedrec(folder, "silo", "roster", "elm", str(own)), 2)
    (folder / "silo" / "silo.yaml").write_text("name: ash\nsource: {folder: /srv/shop}\n")
    other, _ = key_file(folder, "other")
    assert "is this silo itself" in refused(fedrec(folder, "silo", "roster", "ash", str(other)), 2)
    assert answered(fedrec(folder, "silo", "roster", "--json")) == {"members": []}
    assert answered(fedrec(folder, "silo", "roster", "elm", str(other), "--json"))["name"] == "elm"


@pytest.mark.parametrize("name", ["../ash", "", "a/b", ".ash", "ash\n"])
def test_a_name_cannot_lead_out_of_the_roster(folder: Path, name: str) -> None:
    path, _ = key_file(folder, "key")
    done = fedrec(folder, "silo", "roster", name, str(path))
    refused(done, 2)
    assert not list((folder / "silo").rglob("*.pem"))


@pytest.mark.parametrize(
    "arguments", [["ash"], ["--remove"], ["--force"], ["--fingerprint", "0"], ["ash", "--remove", "--force"]]
)
def test_half_a_command_is_refused(folder: Path, arguments: list[str]) -> None:
    assert "NAME FILE" in refused(fedrec(folder, "silo", "roster", *arguments), 2)


def test_a_file_that_is_no_key_is_refused(folder: Path) -> None:
    path = folder / "no.pem"
    path.write_text("no key")
    assert str(path) in refused(fedrec(folder, "silo", "roster", "ash", str(path)), 2)
