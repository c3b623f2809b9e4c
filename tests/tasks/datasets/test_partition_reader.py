"""The reader of partitions refuses every kind of damage."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from models.errors import CorruptArtifact, NotFound
from tasks.datasets.client_assignment import ByUser
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import Partition, open_partition, read_interactions, read_items
from tasks.local.checksums import digest_of


@pytest.fixture
def partition(tmp_path: Path) -> Partition:
    source = tmp_path / "interactions.csv"
    source.write_text("user_id,item_id\nann,x\nbob,y\nann,y\n", encoding="utf-8")
    return make_partition(source, tmp_path / "data", ByUser())


def change(partition: Partition, **changes: object) -> None:
    """Rewrite manifest entries with a digest that fits, as somebody who wants to deceive would."""
    path = partition.root / "partition.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) | changes
    manifest["digest"] = digest_of({"catalog": manifest["catalog"], "clients": manifest["clients"]})
    path.write_text(json.dumps(manifest), encoding="utf-8")


def entries(partition: Partition, key: str):
    return json.loads((partition.root / "partition.json").read_text(encoding="utf-8"))[key]


def test_a_partition_is_read_as_it_was_written(partition):
    opened = open_partition(str(partition.root))
    assert opened == partition
    assert opened.catalog.ids == ("x", "y")
    ann = opened.client("user-ann")
    assert (ann.users, ann.interactions) == (1, 2)
    assert ann.path.is_absolute()
    assert read_interactions(ann)["item_id"].tolist() == ["x", "y"]
    assert read_items(opened)["item_id"].tolist() == ["x", "y"]


def test_a_moved_partition_still_opens(partition, tmp_path):
    moved = tmp_path / "elsewhere"
    partition.root.rename(moved)
    opened = open_partition(moved)
    assert opened.digest == partition.digest
    assert len(read_interactions(opened.clients[1])) == 1


def test_an_unknown_client_is_refused(partition):
    with pytest.raises(NotFound, match="no client 'user-eve'"):
        partition.client("user-eve")


def test_a_missing_folder_is_refused_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(NotFound, match="the folder does not exist") as caught:
        open_partition(tmp_path / "nowhere")
    assert "fedrec data fetch ml-100k" in caught.value.next_step
    assert "fedrec data partition" in caught.value.next_step


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(NotFound, match=r"it has no partition\.json"):
        open_partition(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"{}", b'{"format": 3}', b'{"format": 2, "digest": "x"}', b"null"],
)
def test_a_damaged_manifest_is_refused(partition, content):
    (partition.root / "partition.json").write_bytes(content)
    with pytest.raises(CorruptArtifact, match=r"partition\.json"):
        open_partition(partition.root)


def test_an_edited_manifest_does_not_fit_its_digest(partition):
    path = partition.root / "partition.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"interactions": 2', '"interactions": 3'), encoding="utf-8")
    with pytest.raises(CorruptArtifact, match="digest does not match"):
        open_partition(partition.root)


@pytest.mark.parametrize("client_id", ["../../etc", "", "UPPER", ".hidden", "a/b"])
def test_a_manifest_cannot_lead_out_of_its_folder(partition, client_id):
    clients = entries(partition, "clients")
    clients[0] |= {"id": client_id, "path": f"clients/{client_id}/interactions.parquet"}
    change(partition, clients=clients)
    with pytest.raises(CorruptArtifact, match="breaks the layout"):
        open_partition(partition.root)


def test_a_path_of_another_client_is_refused(partition):
    clients = entries(partition, "clients")
    clients[0]["path"] = clients[1]["path"]
    change(partition, clients=clients)
    with pytest.raises(CorruptArtifact, match="breaks the layout"):
        open_partition(partition.root)


def test_a_catalogue_other_than_the_manifest_s_is_refused(partition):
    change(partition, catalog=entries(partition, "catalog") | {"digest": "0" * 64})
    with pytest.raises(CorruptArtifact, match="lists other items"):
        open_partition(partition.root)


def test_a_changed_catalogue_is_refused(partition):
    partition.items_path.write_bytes(partition.items_path.read_bytes()[:-1])
    with pytest.raises(CorruptArtifact, match=r"item catalogue at .*items\.parquet changed"):
        open_partition(partition.root)


@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
def test_damaged_interactions_are_refused_with_client_and_file(partition, damage):
    client = partition.client("user-ann")
    data = client.path.read_bytes()
    if damage == "missing":
        client.path.unlink()
    else:
        middle = len(data) // 2
        other = bytes([data[middle] ^ 1])
        client.path.write_bytes(data[:middle] + (other + data[middle + 1 :] if damage == "changed" else b""))
    with pytest.raises(CorruptArtifact, match="'user-ann'") as caught:
        read_interactions(client)
    assert caught.value.path == client.path
    assert caught.value.client_id == "user-ann"
    assert str(client.path) in str(caught.value)
    # The other client can still be read.
    assert len(read_interactions(partition.client("user-bob"))) == 1


def test_a_file_with_the_right_digest_that_is_not_parquet_is_refused(partition):
    client = partition.clients[0]
    client.path.write_bytes(b"text")
    # printf text | sha256sum
    fitting = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
    with pytest.raises(CorruptArtifact, match="is not a Parquet file"):
        read_interactions(dataclasses.replace(client, sha256=fitting))
