"""The interactions contract over the files of a partition: profiled one by one, judged together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.interactions import InteractionLimits, check_interactions
from models.errors import ContractViolation, CorruptArtifact
from tasks.clients.check_data import judge, profile_client
from tasks.datasets.partition_reader import open_partition, read_interactions
from tasks.messages.answers import Profiled
from tasks.messages.orders import ClientOrder, StartingPoint
from tests.worlds.changed_data import republish
from tests.worlds.jobs import job_of

LIMITS = InteractionLimits()


def profiled(partition: Path, tmp_path: Path, *client_ids: str) -> dict[str, Profiled]:
    job = job_of(partition, tmp_path)
    base: Any = None  # no model is needed to look at data
    return {
        each: profile_client(ClientOrder(job, each, 0, base, StartingPoint(None, 0)), LIMITS)
        for each in client_ids
    }


def changed(partition: Path, client_id: str, **columns: pa.Array | None) -> pa.Table:
    """Replace columns of a client's file, or remove those that are None; return the new table."""
    path = partition / "clients" / client_id / "interactions.parquet"
    table = pq.ParquetFile(path).read()
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.remove_column(place)
        if values is not None:
            table = table.add_column(place, name, values)
    pq.write_table(table, path)
    republish(partition, client_id)
    return table


def test_files_are_judged_as_their_frames_are(rated_partition_dir: Path, tmp_path: Path) -> None:
    partition = rated_partition_dir
    rows = pq.ParquetFile(partition / "clients" / "birch" / "interactions.parquet").metadata.num_rows
    changed(partition, "birch", rating=pa.array([None, 10.25, *[3.0] * (rows - 2)], pa.float64()))
    items = (
        pq.ParquetFile(partition / "clients" / "cedar" / "interactions.parquet").read()["item_id"].to_pylist()
    )
    changed(partition, "cedar", item_id=pa.array([None, "no item", *items[2:]], pa.string()))
    found = judge(profiled(partition, tmp_path, "ash", "birch", "cedar"), LIMITS)

    opened = open_partition(partition)
    for client_id, each in found.items():
        client = opened.client(client_id)
        alone = check_interactions(read_interactions(client), opened.catalog, client_id)
        assert each.outcome.to_json() == alone.to_json()
        assert (each.users, each.interactions, each.digest) == (
            client.users,
            client.interactions,
            client.sha256,
        )
    breaches = {
        client_id: [(breach.expectation, breach.keys) for breach in each.outcome.breaches]
        for client_id, each in found.items()
    }
    assert breaches == {
        "ash": [],
        "birch": [("rating_present", ("0",)), ("rating_in_range", ("1",))],
        "cedar": [("item_present", ("0",)), ("item_known", ("1",))],
    }


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"item_id": None}, "column item_id is missing"),
        ({"rating": "text"}, "rule rating_in_range failed"),
        ({"rating": "lists"}, "rule rating_in_range failed"),
        ({"item_id": "lists"}, "rule item_known failed"),
    ],
)
def test_data_that_cannot_be_profiled_cost_only_their_client(
    rated_partition_dir: Path, tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    path = rated_partition_dir / "clients" / "ash" / "interactions.parquet"
    rows = pq.ParquetFile(path).metadata.num_rows
    values = {
        "text": pa.array(["five"] * rows),
        "lists": pa.array([[1.0], *[[2.0, 3.0]] * (rows - 1)]),
        None: None,
    }
    changed(rated_partition_dir, "ash", **{name: values[kind] for name, kind in columns.items()})
    with pytest.raises(ContractViolation, match=f"interactions for ash could not be evaluated: {words}"):
        profiled(rated_partition_dir, tmp_path, "ash")
    rest = judge(profiled(rated_partition_dir, tmp_path, "birch", "cedar"), LIMITS)
    assert [each.outcome.passed for each in rest.values()] == [True, True]


def test_a_category_of_texts_is_read_as_its_texts(partition_dir: Path, tmp_path: Path) -> None:
    before = profiled(partition_dir, tmp_path, "ash")["ash"].profile
    path = partition_dir / "clients" / "ash" / "interactions.parquet"
    items = pq.ParquetFile(path).read()["item_id"]
    changed(partition_dir, "ash", item_id=items.dictionary_encode())
    assert pd.read_parquet(path)["item_id"].tolist() == items.to_pylist()
    assert profiled(partition_dir, tmp_path, "ash")["ash"].profile == before


def test_changed_bytes_are_no_data(partition_dir: Path, tmp_path: Path) -> None:
    with (partition_dir / "clients" / "ash" / "interactions.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(CorruptArtifact, match="changed"):
        profiled(partition_dir, tmp_path, "ash")
