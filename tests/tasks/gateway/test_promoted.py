"""What is promoted reaches the silos that took part, and is served there from their own users."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import CorruptArtifact, ForgedAnswer, InvalidInput, NotFound
from tasks.bundles.bundle import open_bundle
from tasks.bundles.pointer import MANIFEST, pointer_path, read_pointer, users_folder
from tasks.bundles.serving_folder import serving_folder
from tasks.bundles.users_bundle import LocalUsers, open_users, write_users
from tasks.gateway.database import open_database
from tasks.gateway.members import Members
from tasks.local.home import Home
from tasks.publishing.from_gateway import GatewayPublisher, chosen_promotion
from tasks.publishing.silo_users import Origin, SiloUsers
from tasks.silos.gateway_client import GatewayRefused
from tasks.silos.promotion import PromotedFile, Promotion
from tests.tasks.gateway.conftest import Door, sha256_of
from tests.worlds.served import ITEMS

HISTORY = [3, 5]


def lay_out(target: Path, origin: Origin) -> str:
    """Write one user, bob, of the job that made the version."""
    assert (origin.job_id, origin.catalog_digest) == ("job-a", "c" * 64)
    users = LocalUsers(
        rows={"bob": 0},
        embeddings=np.full((1, 8), origin.round, dtype=np.float32),
        is_trained=np.ones(1, dtype=np.bool_),
        starts=np.array([0, 2]),
        items=np.array(HISTORY, dtype=np.int32),
    )
    return write_users(target, users)


def publisher_of(door: Door, home: Path, silo: str = "ash") -> GatewayPublisher:
    return GatewayPublisher(Home(home), door.client(silo), "movies", SiloUsers(silo, lay_out))


def test_a_member_learns_what_is_promoted_and_nobody_else(door: Door) -> None:
    target = door.promote()
    (found,) = door.client("ash").promotions()
    assert (found.model_name, found.bundle, found.manifest_sha256) == (
        "movies",
        target.bundle,
        target.manifest_sha256,
    )
    assert found.decision == {"decided_by": "eve"}
    folder = serving_folder(door.home, "movies") / target.bundle
    assert {each.name: (each.sha256, each.bytes) for each in found.files} == {
        path.name: (sha256_of(path.read_bytes()), path.stat().st_size) for path in folder.iterdir()
    }
    assert door.client("birch").promotions() == []


def test_a_file_arrives_whole_or_not_at_all(door: Door, tmp_path: Path) -> None:
    door.promote()
    client = door.client("ash")
    (found,) = client.promotions()
    for file in found.files:
        client.download(file, tmp_path / file.name)
        assert sha256_of((tmp_path / file.name).read_bytes()) == file.sha256
    short = PromotedFile("short", found.files[0].sha256, 1)
    with pytest.raises(ForgedAnswer, match="more than 1 bytes"):
        client.download(short, tmp_path / "short")
    with pytest.raises(GatewayRefused, match="no such file"):
        client.download(PromotedFile("none", "0" * 64, 1), tmp_path / "none")


def test_a_file_that_was_changed_at_the_coordinator_is_refused(door: Door, tmp_path: Path) -> None:
    target = door.promote()
    path = serving_folder(door.home, "movies") / target.bundle / "titles.starts.npy"
    if not path.exists():
        path = next(each for each in path.parent.iterdir() if each.name != MANIFEST)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    try:
        with pytest.raises(ForgedAnswer, match="another body than the signed one"):
            publisher_of(door, tmp_path).publish()
    finally:
        path.write_bytes(data)
    folder = serving_folder(Home(tmp_path), "movies", "ash")
    assert read_pointer(folder) is None
    assert not list(folder.rglob("*.npy"))


def test_a_silo_publishes_the_champion_with_its_own_users(door: Door, tmp_path: Path) -> None:
    door.promote()
    publisher = publisher_of(door, tmp_path)
    first = publisher.publish().champion
    folder = serving_folder(Home(tmp_path), "movies", "ash")
    pointer = read_pointer(folder)
    assert pointer is not None and pointer.champion == first
    assert open_bundle(folder / first.bundle, first.manifest_sha256).facts["version"] == 1
    users = open_users(users_folder(folder, first.bundle, first.users_sha256), first.users_sha256, (ITEMS, 8))
    bob = users.find("bob")
    assert bob is not None and bob.vector is not None
    assert (bob.history, bob.vector[0]) == (HISTORY, 10)

    stamp = pointer_path(folder).stat().st_mtime_ns
    assert publisher.publish().champion == publisher_of(door, tmp_path).publish().champion == first
    assert pointer_path(folder).stat().st_mtime_ns == stamp

    door.promote(2)
    second = publisher.publish().champion
    assert open_bundle(folder / second.bundle, second.manifest_sha256).facts["version"] == 2


def test_what_is_missing_at_the_silo_is_fetched_again(door: Door, tmp_path: Path) -> None:
    door.promote()
    first = publisher_of(door, tmp_path).publish().champion
    folder = serving_folder(Home(tmp_path), "movies", "ash")
    (folder / first.bundle / MANIFEST).unlink()
    assert publisher_of(door, tmp_path).publish().champion == first
    assert open_bundle(folder / first.bundle, first.manifest_sha256).facts["version"] == 1


def test_nothing_promoted_says_when_there_will_be(door: Door, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing promoted of model 'movies'.*fedrec promote"):
        publisher_of(door, tmp_path, "birch").publish()


def test_a_damaged_pointer_is_left_out(door: Door) -> None:
    door.promote()
    path = pointer_path(serving_folder(door.home, "movies"))
    kept = path.read_bytes()
    path.write_bytes(b"{")
    try:
        assert door.client("ash").promotions() == []
    finally:
        path.write_bytes(kept)


def test_members_are_added_once(door: Door) -> None:
    members = Members(open_database(door.home))
    for silos in (["ash", "birch"], ["birch"]):
        members.add(silos, "shoes")
    members.add(["birch"], "books")
    assert members.models_of("birch") == ["books", "shoes"]
    assert members.models_of("nobody") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"bundle": "../1-x"},
        {"bundle": "users"},
        {"files": [{"name": "../x", "sha256": "0" * 64, "bytes": 1}]},
        {"files": [{"name": ".x", "sha256": "0" * 64, "bytes": 1}]},
        {"files": [{"name": "x", "sha256": "0", "bytes": 1}]},
        {"files": None},
        {"more": 1},
    ],
)
def test_a_promotion_that_leads_elsewhere_is_refused(changes: Mapping[str, Any]) -> None:
    right = {
        "model_name": "movies",
        "bundle": "1-x",
        "manifest_sha256": "0" * 64,
        "decision": {},
        "files": [{"name": "x", "sha256": "0" * 64, "bytes": 1}],
    }
    assert Promotion.of_json(right).files == (PromotedFile("x", "0" * 64, 1),)
    with pytest.raises((ValueError, TypeError)):
        Promotion.of_json({**right, **changes})


def test_of_several_models_one_is_named() -> None:
    one, other = (Promotion(name, "1-x", "0" * 64, {}, ()) for name in ("movies", "books"))
    assert chosen_promotion([one, other], "books") == other
    assert chosen_promotion([one], None) == one
    with pytest.raises(InvalidInput, match="2 models are promoted: books, movies"):
        chosen_promotion([one, other], None)


def test_a_bundle_of_another_model_is_refused(door: Door, tmp_path: Path) -> None:
    door.promote()
    folder = serving_folder(door.home, "movies")
    shoes = serving_folder(door.home, "shoes")
    shoes.parent.mkdir(parents=True, exist_ok=True)
    if not shoes.exists():
        shoes.symlink_to(folder)
    Members(open_database(door.home)).add(["ash"], "shoes")
    publisher = GatewayPublisher(Home(tmp_path), door.client("ash"), "shoes", SiloUsers("ash", lay_out))
    with pytest.raises(CorruptArtifact, match="is of model 'movies'"):
        publisher.publish()
    assert json.loads((folder / "1-x" / MANIFEST).read_bytes())["facts"]["model_name"] == "movies"
