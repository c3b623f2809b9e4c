"""Repeated interactions of one user with one item."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from models.errors import InvalidInput
from tasks.datasets.client_assignment import ByColumn, ByUser
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import open_partition, read_interactions
from tasks.datasets.source import FolderSource, read_source
from tasks.datasets.sql_source import SqlSource

ROWS = """user_id,item_id,rating,timestamp,town
u,a,1,50,ash
u,b,2,10,ash
u,a,4,90,ash
v,a,3,5,birch
u,a,2,90,ash
u,b,5,10,ash
u,a,3,20,ash
"""


def rows_of(folder: Path, repeats, *, columns: int = 5, split=None) -> list[list[object]]:
    path = folder / "sales.csv"
    lines = [",".join(line.split(",")[:columns]) for line in ROWS.splitlines()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    made = make_partition(path, folder / "out", split or ByUser(), repeats=repeats, replace=True)
    assert made.report is not None
    assert made.report.repeats == 4
    return [row for client in made.clients for row in read_interactions(client).to_numpy().tolist()]


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        # Of two at second 90 the later row is the later one; rows stay in the order of the source.
        ("latest", [["u", "a", 2.0, 90], ["u", "b", 5.0, 10], ["v", "a", 3.0, 5]]),
        ("first", [["u", "b", 2.0, 10], ["u", "a", 3.0, 20], ["v", "a", 3.0, 5]]),
        ("sum", [["u", "a", 10.0, 90], ["u", "b", 7.0, 10], ["v", "a", 3.0, 5]]),
    ],
)
def test_repeats_are_merged_as_the_option_says(tmp_path, repeats, expected):
    assert rows_of(tmp_path, repeats) == expected
    # A column of the interactions still makes the clients.
    assert rows_of(tmp_path, repeats, split=ByColumn("town")) == expected


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        ("latest", [["u", "b", 5.0], ["u", "a", 3.0], ["v", "a", 3.0]]),
        ("first", [["u", "a", 1.0], ["u", "b", 2.0], ["v", "a", 3.0]]),
        ("sum", [["u", "b", 7.0], ["u", "a", 10.0], ["v", "a", 3.0]]),
    ],
)
def test_without_timestamps_the_order_of_the_rows_decides(tmp_path, repeats, expected):
    assert rows_of(tmp_path, repeats, columns=3) == expected


def test_without_ratings_the_sum_is_the_number_of_interactions(tmp_path):
    assert rows_of(tmp_path, "sum", columns=2) == [["u", "b", 2.0], ["u", "a", 4.0], ["v", "a", 1.0]]
    assert rows_of(tmp_path, "latest", columns=2) == [["u", "b"], ["u", "a"], ["v", "a"]]


def test_repeats_are_refused_with_the_option_that_merges_them(tmp_path):
    with pytest.raises(
        InvalidInput, match=r"row 4: user 'u' and item 'a' already occur together in row 2"
    ) as caught:
        rows_of(tmp_path, None)
    assert "(4 of 7 rows repeat an earlier pair)" in str(caught.value)
    assert "--repeats latest" in caught.value.next_step
    assert not (tmp_path / "out").exists()


def test_a_report_is_kept_in_the_manifest(tmp_path):
    rows_of(tmp_path, "latest")
    report = open_partition(tmp_path / "out").report
    assert report is not None
    kept = json.loads((tmp_path / "out" / "partition.json").read_text())["report"]
    assert (kept["users"], kept["items"], kept["interactions"], kept["clients"]) == (2, 2, 3, 2)
    assert (kept["density"], kept["ratings"], kept["times"]) == (0.75, [2.0, 5.0], [5, 90])
    assert (report.users, report.times, report.history_quantiles[2]) == (2, (5, 90), 1.5)


def source_of(folder: Path, kind: str, repeats) -> FolderSource | SqlSource:
    """Return the rows as two files of a folder, or as a table of a database in another order."""
    header, *lines = ROWS.splitlines()
    if kind == "folder":
        (folder / "data").mkdir()
        for name, part in (("a.csv", lines[:3]), ("b.csv", lines[3:])):
            (folder / "data" / name).write_text("\n".join([header, *part]) + "\n", encoding="utf-8")
        return FolderSource(folder / "data", repeats)
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.execute("CREATE TABLE sales (user_id, item_id, rating REAL, timestamp INTEGER, town)")
        rows = [line.split(",") for line in reversed(lines)]
        database.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?)", rows)
        database.commit()
    return SqlSource(f"sqlite:///{folder}/shop.db", "SELECT * FROM sales", repeats)


@pytest.mark.parametrize("kind", ["folder", "sql"])
@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        # The rows of a database have no order: of two at second 90 the better rating is the later one.
        ("latest", {("u", "a", 90): {"folder": 2.0, "sql": 4.0}, ("u", "b", 10): 5.0, ("v", "a", 5): 3.0}),
        ("first", {("u", "a", 20): 3.0, ("u", "b", 10): 2.0, ("v", "a", 5): 3.0}),
        ("sum", {("u", "a", 90): 10.0, ("u", "b", 10): 7.0, ("v", "a", 5): 3.0}),
    ],
)
def test_a_silo_s_source_merges_repeats_in_the_same_way(tmp_path, kind, repeats, expected):
    found = read_source(source_of(tmp_path, kind, repeats)).interactions
    assert found.ratings is not None
    assert found.timestamps is not None
    ids = zip(
        found.users[found.user_codes], found.items[found.item_codes], found.timestamps.tolist(), strict=True
    )
    assert dict(zip(ids, found.ratings.tolist(), strict=True)) == {
        key: value[kind] if isinstance(value, dict) else value for key, value in expected.items()
    }


@pytest.mark.parametrize("kind", ["folder", "sql"])
def test_a_silo_s_source_refuses_repeats_with_its_setting(tmp_path, kind):
    with pytest.raises(InvalidInput, match="already occur together") as caught:
        read_source(source_of(tmp_path, kind, None))
    assert "source.repeats" in caught.value.next_step


def test_repeats_of_two_files_are_refused_with_the_setting(tmp_path):
    source = source_of(tmp_path, "folder", None)
    for name in ("a.csv", "b.csv"):
        (tmp_path / "data" / name).write_text("user_id,item_id\nu,a\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"row 2: user 'u' .* in row 2 of a\.csv") as caught:
        read_source(source)
    assert "source.repeats" in caught.value.next_step
