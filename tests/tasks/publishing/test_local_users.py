"""`fedrec silo serve`: known users are answered from their own embeddings, which stay in the silo."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.errors import CatalogMismatch, CorruptArtifact, NotFound
from models.recommenders.base.users import UserArrays
from models.recommenders.scoring.recommender import Recommender
from tasks.bundles.pointer import Pointer, read_pointer, users_folder
from tasks.bundles.serving_folder import serving_folder
from tasks.bundles.users_bundle import open_users
from tasks.clients.client_data import UserStates
from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition
from tasks.publishing.local_users import lay_out_users
from tasks.publishing.publish import publish
from tasks.publishing.silo_users import Origin, SiloUsers
from tasks.scoring.recommend import recommender_of
from tasks.tracking import registry
from tests.servers.free_port import free_port
from tests.worlds.registered import EMBEDDINGS, ITEMS
from tests.worlds.served import Server, running

IDS = ITEMS["item_id"].tolist()
HISTORIES = {"bob": ["12"], "eve": ["50", "1"], "zoë": ["100"]}
# Eve is new since the training: the silo has her history and no embedding.
TRAINED = {"bob": [4.0, -1.0], "gone": [9.0, 9.0], "zoë": [0.5, 3.0]}


@dataclass
class Silo:
    """A silo's own folders and a registry with a champion."""

    world: Any
    partition: Path

    @property
    def recommender(self) -> Recommender:
        return recommender_of(registry.load_version(self.world.client, self.world.model_name, 1))

    def origin(self, version: int = 1) -> Origin:
        record = registry.load_record(self.world.client, self.world.model_name, version)
        return Origin(record.job_id, record.round, record.catalog_digest)

    def lay_out(self, target: Path, silo: str = "ash", data: Path | None = None) -> str:
        return lay_out_users(self.world.home, silo, data, target, self.origin())


@pytest.fixture
def silo(world: Any, tmp_path: Path) -> Silo:
    world.register(1, None)
    world.client.set_registered_model_alias(world.model_name, "champion", "1")
    partition = world.home.root / "snapshots" / world.job_id
    make_snapshot(tmp_path, partition, ITEMS)
    write_state(world, round_=1)
    return Silo(world, partition)


def make_snapshot(tables: Path, out: Path, items: pd.DataFrame, times: list[int] | None = None) -> None:
    rows = [(user, item, "ash") for user, history in HISTORIES.items() for item in history]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "town"])
    if times:
        table["timestamp"] = times
    table.to_csv(tables / "rows.csv", index=False)
    items.to_csv(tables / "items.csv", index=False)
    make_partition(tables / "rows.csv", out, ByColumn("town"), items=tables / "items.csv")


def write_state(world: Any, round_: int, *, folded_in: bool = False) -> None:
    vectors = np.array(list(TRAINED.values()), dtype=np.float32)
    ones = np.ones(len(TRAINED), dtype=np.float32)
    arrays = UserArrays(vectors, ones, np.ones_like(vectors), ones)
    states = UserStates(world.home.silos / "ash", world.job_id)
    states.write(round_, arrays, tuple(TRAINED), folded_in=folded_in)


def test_histories_and_embeddings_of_the_silo_are_published_for_its_account_alone(silo, tmp_path):
    target = tmp_path / "users" / "1-x"

    users = open_users(target, silo.lay_out(target), (4, 2))

    bob, eve = users.find("bob"), users.find("eve")
    assert bob is not None and eve is not None
    assert (bob.history, eve.history) == ([IDS.index("12")], [IDS.index("50"), IDS.index("1")])
    assert bob.vector is not None and bob.vector.tolist() == TRAINED["bob"]
    assert eve.vector is None
    assert users.find("gone") is None
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700


def test_histories_are_published_oldest_first(silo, tmp_path):
    make_snapshot(tmp_path, tmp_path / "timed", ITEMS, times=[5, 9, 8, 1])

    users = open_users(tmp_path / "u", silo.lay_out(tmp_path / "u", data=tmp_path / "timed"), (4, 2))

    eve = users.find("eve")
    assert eve is not None
    assert eve.history == [IDS.index("1"), IDS.index("50")]


def test_a_state_of_another_round_is_used_if_the_own_one_is_gone(silo, tmp_path):
    (silo.world.home.silos / "ash" / "state" / "job-a" / "round-000001.safetensors").unlink()
    write_state(silo.world, round_=7)

    users = open_users(tmp_path / "u", silo.lay_out(tmp_path / "u"), (4, 2))

    assert users.is_trained.tolist() == [True, False, True]


def test_users_of_a_job_that_folds_them_in_have_histories_only(silo, tmp_path):
    write_state(silo.world, round_=1, folded_in=True)

    users = open_users(tmp_path / "u", silo.lay_out(tmp_path / "u"), (4, 2))

    bob = users.find("bob")
    assert bob is not None
    assert (bob.history, bob.vector) == ([IDS.index("12")], None)


def test_a_silo_that_took_no_part_has_histories_only(silo, tmp_path):
    (silo.world.home.silos / "ash" / "state" / "job-a" / "round-000001.safetensors").unlink()

    users = open_users(tmp_path / "u", silo.lay_out(tmp_path / "u"), (4, 2))

    zoe = users.find("zoë")
    assert zoe is not None and zoe.vector is None
    assert zoe.history == [IDS.index("100")]


def test_missing_data_and_data_of_other_items_are_refused(silo, tmp_path):
    other = tmp_path / "other"
    make_snapshot(tmp_path, other, ITEMS[::-1])
    with pytest.raises(CatalogMismatch, match=r"but the champion.s catalogue is"):
        silo.lay_out(tmp_path / "u", data=other)
    with pytest.raises(NotFound, match="no client 'birch'"):
        silo.lay_out(tmp_path / "u", silo="birch")
    silo.partition.rename(tmp_path / "moved")
    with pytest.raises(NotFound, match=r"no snapshot of job 'job-a'.*--data FOLDER"):
        silo.lay_out(tmp_path / "u")
    assert not (tmp_path / "u").exists()
    assert silo.lay_out(tmp_path / "u", data=tmp_path / "moved")


@pytest.mark.parametrize("name", ["embeddings.npy", "items.npy", "user_ids.texts.npy", "users.json"])
def test_a_changed_file_is_found(silo, tmp_path, name):
    digest = silo.lay_out(tmp_path / "u")
    data = (tmp_path / "u" / name).read_bytes()
    (tmp_path / "u" / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    with pytest.raises(CorruptArtifact, match="cannot be opened"):
        open_users(tmp_path / "u", digest, (4, 2))


def test_users_of_another_model_are_refused(silo, tmp_path):
    digest = silo.lay_out(tmp_path / "u")

    for shape in ((4, 3), (3, 2)):
        with pytest.raises(CorruptArtifact, match="do not fit a model of"):
            open_users(tmp_path / "u", digest, shape)


@pytest.fixture
def server(silo: Silo, tmp_path: Path) -> Iterator[Server]:
    port = free_port()
    command = ["-m", "flows", "silo", "serve", "--silo", "ash", "--port", str(port)]
    with running(command, port, tmp_path / "log") as found:
        found.wait_until(found.is_ready)
        yield found


def ask(server: Server, user_id: str, **question: Any) -> dict[str, Any]:
    status, content, _ = server.ask("POST", f"/v1/users/{user_id}/recommendations", question)
    assert status == 200, content
    return dict(content)


def scores(answer: dict[str, Any]) -> dict[str, float]:
    return {item["item_id"]: item["score"] for item in answer["recommendations"]}


def test_users_are_answered_from_the_silo_s_data_about_them(silo, server):
    bob = ask(server, "bob")
    assert bob["answered_from"] == "embedding"
    # Item 12 is in bob's history. Biases are 0 except the first item's, which is round / 1000.
    products = EMBEDDINGS @ np.array(TRAINED["bob"])
    assert scores(bob) == pytest.approx({"1": products[0] + 0.001, "50": products[1], "100": products[3]})
    assert list(scores(bob)) == ["1", "50", "100"]
    assert bob["model"]["version"] == 1
    for item in bob["recommendations"]:
        assert sum(reason["share"] for reason in item["reasons"]) == pytest.approx(1.0)

    zoe = ask(server, "zo%C3%AB", k=1, history=[{"item_id": "12"}])
    assert list(scores(zoe)) == ["1"]
    assert zoe["answered_from"] == "embedding"

    eve = ask(server, "eve")
    rows = [IDS.index("50"), IDS.index("1")]
    expected = {one.item_id: one.score for one in silo.recommender.recommend(rows, 10)}
    assert eve["answered_from"] == "stored history"
    assert scores(eve) == pytest.approx(expected)

    # An id may hold any character, even a separator of paths.
    assert ask(server, "a%2Fb")["answered_from"] == "history"
    stranger = ask(server, "nobody", history=[{"item_id": "12"}])
    assert stranger["answered_from"] == "history"
    plain = server.recommend(history=[{"item_id": "12"}])
    assert stranger["recommendations"] == plain["recommendations"]

    # What the version does not know is left out of the answer for everybody.
    odd = ask(server, "bob", exclude=["no such", "50"], history=[{"item_id": "gone"}, {"item_id": "12"}])
    assert (list(scores(odd)), odd["unknown"], odd["answered_from"]) == (["1", "100"], ["gone"], "embedding")
    odd = ask(server, "nobody", history=[{"item_id": "gone"}, {"item_id": "12"}])
    assert (odd["recommendations"], odd["unknown"]) == (plain["recommendations"], ["gone"])
    assert "/v1/users/{user_id}/recommendations" in server.get("/openapi.json")["paths"]
    # Not even the access log shows which user was requested.
    assert "bob" not in server.log.read_text()


def publish_with_users(silo: Silo, name: str = "ash", data: Path | None = None) -> Pointer:
    users = SiloUsers(name, lambda target, origin: lay_out_users(silo.world.home, name, data, target, origin))
    return publish(silo.world.home, silo.world.client, silo.world.model_name, users)


def test_a_silo_s_service_and_a_plain_one_of_one_home_have_their_own_pointers(silo):
    home, name = silo.world.home, silo.world.model_name
    plain, own = serving_folder(home, name), serving_folder(home, name, "ash")

    first = publish(home, silo.world.client, name)
    found = publish_with_users(silo)

    assert (read_pointer(plain), read_pointer(own)) == (first, found)
    assert (first.champion.users_sha256, first.champion.bundle) == ("", found.champion.bundle)
    assert not (plain / "users").exists()
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*") if path.name != "users"}
    assert publish_with_users(silo) == found
    assert {path: path.stat().st_mtime_ns for path in own.rglob("*") if path.name != "users"} == before


def test_other_interactions_of_the_silo_replace_the_published_ones(silo, tmp_path):
    folder = serving_folder(silo.world.home, silo.world.model_name, "ash")
    make_snapshot(tmp_path, tmp_path / "timed", ITEMS, times=[5, 9, 8, 1])

    def history(pointer: Pointer) -> list[int]:
        beside = users_folder(folder, pointer.champion.bundle, pointer.champion.users_sha256)
        eve = open_users(beside, pointer.champion.users_sha256, (4, 2)).find("eve")
        assert eve is not None
        return eve.history

    first = publish_with_users(silo)
    assert history(first) == [IDS.index("50"), IDS.index("1")]
    second = publish_with_users(silo, data=tmp_path / "timed")
    assert history(second) == [IDS.index("1"), IDS.index("50")]
    # Only the pointer's are kept.
    assert len(list((folder / "users").iterdir())) == 1


def test_damaged_users_are_written_again(silo):
    folder = serving_folder(silo.world.home, silo.world.model_name, "ash")
    first = publish_with_users(silo)
    beside = users_folder(folder, first.champion.bundle, first.champion.users_sha256)
    (beside / "items.npy").write_bytes(b"")

    assert publish_with_users(silo) == first
    assert open_users(beside, first.champion.users_sha256, (4, 2)).find("bob") is not None


def test_schemathesis_finds_nothing_inside_a_silo(server, tmp_path):
    command = [str(Path(sys.executable).parent / "schemathesis"), "run"]
    command += [f"http://127.0.0.1:{server.port}/openapi.json", "--include-path-regex", "^/v1/users/"]
    command += ["--checks", "all", "--seed", "1", "--max-examples", "30", "--no-color"]
    # What it remembers of a run lies in its working folder.
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)

    assert found.returncode == 0, found.stdout
    assert "No issues found" in found.stdout


def test_a_silo_without_a_registry_learns_how_to_name_one(home, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    done = subprocess.run(
        [sys.executable, "-m", "flows", "silo", "serve", "--silo", "ash"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "Set MLFLOW_TRACKING_URI to the coordinator's MLflow" in done.stderr
