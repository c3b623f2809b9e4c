"""Repeated interactions of one user with one item."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.errors import InvalidInput
from tasks.datasets.client_assignment import ByColumn, ByUser
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import open_partition, read_interactions

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
