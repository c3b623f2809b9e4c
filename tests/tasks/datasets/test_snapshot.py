"""A silo's snapshot: one state of its data for a job, equal to the client of a partition of the same rows."""

from __future__ import annotations

import shutil
import stat
import threading
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_contracts.interactions import check_interactions
from models.errors import CatalogMismatch, CorruptArtifact, InvalidInput
from models.evaluation.split import Split
from tasks.clients.silo_data import SiloData, load_silo
from tasks.datasets import snapshot as snapshots
from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import Partition, open_partition, read_interactions, read_items
from tasks.datasets.snapshot import forget_snapshots, take_snapshot
from tasks.datasets.source import FolderSource
from tasks.datasets.sql_source import SqlSource

NAMES = ("ash", "birch", "cedar")


@pytest.fixture
def world(tmp_path: Path) -> tuple[pd.DataFrame, Partition]:
    """Return interactions with many ties in time and in no order, and their partition by town."""
    random = np.random.default_rng(11)
    pairs = random.choice(24 * 40, size=400, replace=False)
    frame = pd.DataFrame(
        {
            "user_id": [f"u{pair // 40}" for pair in pairs],
            "item_id": [f"i{pair % 40}" for pair in pairs],
            "rating": random.integers(1, 11, 400) / 2,
            "timestamp": random.integers(100, 104, 400),
        }
    )
    return frame, partition_of(frame, tmp_path / "world")


def partition_of(frame: pd.DataFrame, folder: Path) -> Partition:
    folder.mkdir()
    frame.to_csv(folder / "interactions.csv", index=False)
    # The catalogue has an order of its own, an item that nobody used, and columns besides the title.
    items = [f"i{item}" for item in range(40, -1, -1)]
    titles = [f"Film {item}" if item != "i7" else "" for item in items]
    years = [None if item == "i3" else 1990 + number for number, item in enumerate(items)]
    catalog = pd.DataFrame({"title": titles, "item_id": items, "year": years})
    catalog.to_csv(folder / "items.csv", index=False)
    users = pd.DataFrame({"user_id": [f"u{user}" for user in range(24)]})
    users["town"] = [NAMES[user % 3] for user in range(24)]
    users[users["user_id"].isin(frame["user_id"])].to_csv(folder / "users.csv", index=False)
    given = {name: folder / f"{name}.csv" for name in ("items", "users")}
    return make_partition(folder / "interactions.csv", folder / "partition", ByColumn("town"), **given)


def rows_of(frame: pd.DataFrame, town: str) -> pd.DataFrame:
    return frame[[NAMES[int(user[1:]) % 3] == town for user in frame["user_id"]]]


def folder_source(frame: pd.DataFrame, folder: Path) -> FolderSource:
    """Write these rows in order into three files of a folder."""
    folder.mkdir(parents=True)
    cuts = [0, len(frame) // 5, len(frame) // 2, len(frame)]
    for number in range(3):
        frame[cuts[number] : cuts[number + 1]].to_parquet(folder / f"part-{number}.parquet", index=False)
    return FolderSource(folder)


def loaded(partition: Partition, name: str) -> SiloData:
    return load_silo(str(partition.root), partition.digest, name, 5, 9)


def assert_equal_data(one: SiloData, other: SiloData) -> None:
    assert one.user_ids == other.user_ids
    for field in fields(Split):
        ours, theirs = getattr(one.split, field.name), getattr(other.split, field.name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    for name in ("validation_negatives", "test_negatives"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("users", "items"):
        ours, theirs = getattr(one.training, name), getattr(other.training, name)
        assert ours.tobytes() == theirs.tobytes()
    assert one.training.shape == other.training.shape


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_equals_the_client_of_the_same_name_byte_for_byte(tmp_path, world, name):
    frame, partition = world
    source = folder_source(rows_of(frame, name), tmp_path / name)
    taken = take_snapshot(source, partition.items_path, name, tmp_path / "snapshots" / "job")
    assert [client.id for client in taken.clients] == [name]
    ours, theirs = taken.client(name), partition.client(name)
    assert ours.path.read_bytes() == theirs.path.read_bytes()
    assert (ours.users, ours.interactions) == (theirs.users, theirs.interactions)
    assert taken.catalog.digest == partition.catalog.digest
    assert taken.items_sha256 == partition.items_sha256
    pd.testing.assert_frame_equal(read_items(taken), read_items(partition))
    data = loaded(taken, name)
    assert_equal_data(data, loaded(partition, name))
    assert len(data.split.test_users) == 8


def test_the_order_of_rows_at_one_time_decides_what_is_held_out(tmp_path, world):
    """This is why the test above would notice a source that changed the order."""
    frame, partition = world
    source = folder_source(rows_of(frame, "ash")[::-1], tmp_path / "ash")
    taken = take_snapshot(source, partition.items_path, "ash", tmp_path / "job")
    ours, theirs = loaded(taken, "ash").split, loaded(partition, "ash").split
    assert ours.test_users.tolist() == theirs.test_users.tolist()
    assert ours.test_items.tolist() != theirs.test_items.tolist()


def test_a_database_gives_the_client_of_rows_sorted_by_user_time_and_item(
    tmp_path, world, postgres_server, postgres_url, monkeypatch
):
    frame, _ = world
    partition = partition_of(frame.sort_values(["user_id", "timestamp", "item_id"]), tmp_path / "sorted")
    place, password = postgres_url.replace(f":{postgres_server.password}@", "@"), postgres_server.password
    monkeypatch.setenv("FEDREC_SOURCE_PASSWORD", password)
    with (
        postgres_server.connect(postgres_url.rpartition("/")[2]) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE rows (user_id text, item_id text, rating float8, timestamp bigint)")
        with cursor.copy("COPY rows FROM STDIN") as copy:
            for row in rows_of(frame, "birch").itertuples(index=False, name=None):
                copy.write_row(row)
    taken = take_snapshot(
        SqlSource(place, "SELECT * FROM rows"), partition.items_path, "birch", tmp_path / "job"
    )
    assert taken.client("birch").path.read_bytes() == partition.client("birch").path.read_bytes()
    assert_equal_data(loaded(taken, "birch"), loaded(partition, "birch"))
    written = b"".join(path.read_bytes() for path in taken.root.rglob("*") if path.is_file())
    assert password.encode() not in written


def test_a_job_keeps_its_snapshot_when_the_source_changes(tmp_path, world):
    frame, partition = world
    source = folder_source(rows_of(frame, "ash"), tmp_path / "ash")
    first = take_snapshot(source, partition.items_path, "ash", tmp_path / "snapshots" / "job-1")
    before = {path: path.stat().st_mtime_ns for path in first.root.rglob("*")}
    shutil.rmtree(source.folder)
    folder_source(rows_of(frame, "ash")[:-5], source.folder)
    again = take_snapshot(source, partition.items_path, "ash", tmp_path / "snapshots" / "job-1")
    assert again.digest == first.digest
    assert {path: path.stat().st_mtime_ns for path in first.root.rglob("*")} == before
    other = take_snapshot(source, partition.items_path, "ash", tmp_path / "snapshots" / "job-2")
    assert other.client("ash").interactions == first.client("ash").interactions - 5


def test_two_processes_that_take_a_snapshot_at_once_get_the_same_one(tmp_path, world, monkeypatch):
    """The second sees other rows, but it waits for the first and gets its snapshot."""
    frame, partition = world
    rows = rows_of(frame, "ash")
    sources = [folder_source(rows, tmp_path / "1"), folder_source(rows[:-5], tmp_path / "2")]
    reading, go_on = threading.Event(), threading.Event()
    given = snapshots.read_source

    def slowly(source):
        reading.set()
        assert go_on.wait(10)
        return given(source)

    monkeypatch.setattr(snapshots, "read_source", slowly)
    results: dict[int, Partition] = {}

    def take(number: int) -> None:
        results[number] = take_snapshot(sources[number], partition.items_path, "ash", tmp_path / "s" / "job")

    threads = [threading.Thread(target=take, args=[number]) for number in range(2)]
    threads[0].start()
    assert reading.wait(10)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert results[0].digest == results[1].digest
    assert results[1].client("ash").interactions == len(rows)


def test_an_unknown_item_is_refused_by_the_contract_with_its_rows(tmp_path, world):
    frame, partition = world
    rows = rows_of(frame, "ash").reset_index(drop=True)
    rows.loc[[3, 60], "item_id"] = ["new-1", "new-2"]
    taken = take_snapshot(
        folder_source(rows, tmp_path / "ash"), partition.items_path, "ash", tmp_path / "job"
    )
    assert taken.catalog.digest == partition.catalog.digest
    outcome = check_interactions(read_interactions(taken.client("ash")), taken.catalog, "ash")
    assert [breach.expectation for breach in outcome.breaches] == ["item_known"]
    assert [int(key) for key in outcome.breaches[0].keys] == [3, 60]


def test_nothing_is_left_if_the_source_breaks_a_rule(tmp_path, world):
    frame, partition = world
    rows = pd.concat([rows_of(frame, "ash"), rows_of(frame, "ash")[:1]])
    source = folder_source(rows, tmp_path / "ash")
    folder = tmp_path / "snapshots" / "job"
    with pytest.raises(InvalidInput, match=r"part-2\.parquet, row \d+: .* row 1 of part-0\.parquet"):
        take_snapshot(source, partition.items_path, "ash", folder)
    assert [path.name for path in folder.parent.iterdir()] == [".lock"]
    # Once the source is corrected, the same job gets its snapshot.
    shutil.rmtree(source.folder)
    folder_source(rows[:-1], source.folder)
    assert take_snapshot(source, partition.items_path, "ash", folder).client("ash").users == 8


def test_only_the_owner_can_read_it(tmp_path, world):
    frame, partition = world
    source = folder_source(rows_of(frame, "ash"), tmp_path / "ash")
    take_snapshot(source, partition.items_path, "ash", tmp_path / "snapshots" / "job")
    assert stat.S_IMODE((tmp_path / "snapshots").stat().st_mode) == 0o700


class TestWhatIsThereAlready:
    @pytest.fixture
    def taken(self, tmp_path, world) -> Partition:
        frame, partition = world
        source = folder_source(rows_of(frame, "ash"), tmp_path / "ash")
        return take_snapshot(source, partition.items_path, "ash", tmp_path / "snapshots" / "job")

    def take(self, taken: Partition, items: Path, name: str = "ash") -> None:
        take_snapshot(FolderSource(Path("/unused")), items, name, taken.root)

    def test_of_another_client_is_refused(self, taken, world):
        with pytest.raises(CatalogMismatch, match="is of client ash, not of birch"):
            self.take(taken, world[1].items_path, "birch")

    def test_for_other_items_is_refused(self, taken, world, tmp_path):
        items = tmp_path / "items.csv"
        pd.DataFrame({"item_id": world[1].catalog.ids[::-1]}).to_csv(items, index=False)
        with pytest.raises(CatalogMismatch, match="A job's catalogue never changes"):
            self.take(taken, items)

    @pytest.mark.parametrize("file", ["partition.json", "items.parquet"])
    def test_with_damage_is_refused(self, taken, world, file):
        (taken.root / file).write_bytes(b"{}")
        with pytest.raises(CorruptArtifact, match=r"snapshot .* is damaged") as error:
            self.take(taken, world[1].items_path)
        assert "start a new job" in error.value.next_step

    def test_without_its_manifest_is_refused(self, taken, world):
        (taken.root / "partition.json").unlink()
        with pytest.raises(CorruptArtifact, match="is damaged"):
            self.take(taken, world[1].items_path)

    def test_under_a_name_that_leads_elsewhere_is_refused(self, taken, world):
        with pytest.raises(InvalidInput, match="is not a client id"):
            self.take(taken, world[1].items_path, "../ash")


class TestForgetting:
    @pytest.fixture
    def folder(self, tmp_path, world) -> Path:
        frame, partition = world
        source = folder_source(rows_of(frame, "ash"), tmp_path / "ash")
        folder = tmp_path / "snapshots"
        for job in ("job-1", "job-2", "job-3"):
            take_snapshot(source, partition.items_path, "ash", folder / job)
        return folder

    def test_keeps_the_given_jobs_and_nothing_unfinished(self, folder):
        # What a killed process leaves behind.
        (folder / ".job-4.abc" / "new").mkdir(parents=True)
        assert forget_snapshots(folder, {"job-2", "job-9"}) == ["job-1", "job-3"]
        assert sorted(path.name for path in folder.iterdir()) == [".lock", "job-2"]
        assert open_partition(folder / "job-2").clients[0].id == "ash"

    def test_without_snapshots_does_nothing(self, tmp_path):
        assert forget_snapshots(tmp_path / "absent", set()) == []
        assert not (tmp_path / "absent").exists()
