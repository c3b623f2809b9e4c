"""Rows that cannot be used, rows that repeat others, and items that the catalogue lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import InvalidInput
from tasks.datasets.catalog import ColumnOptions, check_catalog
from tasks.datasets.client_assignment import ByColumn, ByUser
from tasks.datasets.owner_files import Reading
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import Partition, read_interactions, read_items
from tasks.tables.column_names import parsed
from tasks.tables.read import read_table

SKIP = Reading(bad_rows="skip")


class Shop:
    """Files of a shop in a folder, and the partition of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []

    def write(self, name: str, content: str | pa.Table) -> Path:
        path = self.folder / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            pq.write_table(content, path)
        return path

    def partition(self, interactions: Path, reading: Reading, items: Path | None = None, **more) -> Partition:
        split = ByColumn(more.pop("by")) if "by" in more else ByUser()
        columns = ColumnOptions(bad_rows=reading.bad_rows)
        return make_partition(
            interactions,
            self.folder / "out",
            split,
            items=items,
            columns=columns,
            reading=reading,
            replace=True,
            tell=self.notes.append,
            **more,
        )


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(tmp_path)


def pairs(made: Partition) -> list[tuple[str, str]]:
    rows = pd.concat(map(read_interactions, made.clients))
    return sorted(zip(rows["user_id"], rows["item_id"], strict=True))


HEAD = "user_id,item_id,rating,timestamp\n"


@pytest.mark.parametrize(
    ("rows", "row", "rule"),
    [
        ("u,a,1,5\n,b,1,5\nv,b,2,6\n", 3, "user_id is empty"),
        ("u,a,1,5\n\nv, ,1,5\nv,b,2,6\n", 4, "item_id is empty"),
        (",,,\nu,a,1,5\nv,b,2,6\n", 2, "user_id is empty"),
        ("u,a,1,5\nv,b,2,6\nw,b,much,6\n", 4, "rating 'much' is not a finite number"),
        ("u,a,1,5\nw,b,1e999,6\nv,b,2,6\n", 3, "rating '1e999' is not a finite number"),
        ("u,a,1,5\nw,b,1,soon\nv,b,2,6\n", 3, "timestamp 'soon' is neither seconds since 1970 nor ISO 8601"),
        ("u,a,1,5\nw,b,1,1700000000000\nv,b,2,6\n", 3, "timestamp '1700000000000' is neither"),
        ("u,a,1,5\nw,b,1\nv,b,2,6\n", 3, "the row has 3 values, expected 4 as in the header"),
        ("u,a,1,5\n\n\nw,b,1,5,6,7\nv,b,2,6\n", 5, "the row has 6 values, expected 4 as in the header"),
        ('u,a,1,5\n"w\nx",b,1,5\nv,b,2,6\n', 3, "user_id holds a line break"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_or_left_out(shop, rows, row, rule):
    path = shop.write("orders.csv", HEAD + rows)
    with pytest.raises(InvalidInput) as caught:
        shop.partition(path, Reading())
    assert (caught.value.row, caught.value.option) == (row, ("--bad-rows", "skip"))
    assert rule in caught.value.rule
    assert pairs(shop.partition(path, SKIP)) == [("u", "a"), ("v", "b")]
    (note,) = shop.notes
    assert note.startswith(f"1 of 3 rows of {path} were left out (row {row}: {rule}")


def test_all_kinds_of_rows_are_counted_and_the_first_are_listed_with_their_numbers(shop):
    lines = ["u,a,1,5", "x", ",b,1,5", "", "v,b,2,6", "y,z", "w,,1,5", "w,c,x,y", "w,c,3,7", ",,,"]
    path = shop.write("orders.csv", HEAD + "\n".join(lines) + "\n")
    made = shop.partition(path, SKIP)
    assert pairs(made) == [("u", "a"), ("v", "b"), ("w", "c")]
    # The header is row 1, and the empty line is row 5.
    assert shop.notes == [
        f"6 of 9 rows of {path} were left out (row 3: the row has 1 values, expected 4 as in the header; "
        "row 4: user_id is empty; row 7: the row has 2 values, expected 4 as in the header; ...)."
    ]
    # As a file without them, to the byte.
    clean = shop.write("clean.csv", HEAD + "u,a,1,5\nv,b,2,6\nw,c,3,7\n")
    assert shop.partition(clean, Reading()).digest == made.digest


def test_rows_of_typed_files_are_left_out_by_the_same_rules(shop):
    table = pa.table(
        {
            "user_id": [1.0, 2.5, 3.0, 2.0**53, None],
            "item_id": pa.array([b"a", b"a", b"\xff", b"a", b"a"]),
            "rating": pa.array([1.0, 1.0, 1.0, 1.0, 1.0]),
        }
    )
    path = shop.write("orders.parquet", table)
    assert pairs(shop.partition(path, SKIP)) == [("1", "a")]
    assert shop.notes == [
        f"4 of 5 rows of {path} were left out (row 2: user_id 2.5 is neither text nor a whole number; row 3: "
        "item_id is neither text nor a whole number: its bytes are not UTF-8; row 4: "
        "user_id 9007199254740992 is a 64-bit float, and from 2^53 on such floats do not tell all whole "
        "numbers apart; ...)."
    ]


def test_a_row_without_a_client_is_left_out(shop):
    path = shop.write("orders.csv", "user_id,item_id,shop\nu,a,Bonn\nv,b,\nw,b,Bern\n")
    made = shop.partition(path, SKIP, by="shop")
    assert pairs(made) == [("u", "a"), ("w", "b")]
    assert shop.notes == [f"1 of 3 rows of {path} were left out (row 3: shop is empty)."]


def test_a_file_of_bad_rows_alone_and_a_column_of_another_type_are_still_refused(shop):
    path = shop.write("orders.csv", "user_id,item_id\n,a\n,b\n")
    with pytest.raises(InvalidInput, match="every row breaks a rule, such as row 2: user_id is empty"):
        shop.partition(path, SKIP)
    ragged = shop.write("ragged.csv", "user_id,item_id\na\nb\n")
    with pytest.raises(InvalidInput, match="the file has no rows"):
        shop.partition(ragged, SKIP)
    typed = shop.write("typed.parquet", pa.table({"user_id": [True], "item_id": ["a"]}))
    with pytest.raises(InvalidInput, match="user_id is a bool"):
        shop.partition(typed, SKIP)


ITEMS = "item_id,title,price,tags\na,Adapter,1.5,x|y\nb,Bulb,2,y\n"


@pytest.mark.parametrize("again", ["a,Adapter,1.5,x|y\n", " a , Adapter,1.5 ,x|y\n"])
def test_item_rows_that_repeat_another_count_once(shop, again):
    orders = shop.write("orders.csv", "user_id,item_id\nu,a\nv,b\n")
    once = shop.partition(orders, Reading(), shop.write("items.csv", ITEMS))
    twice = shop.write("twice.csv", ITEMS + again + again)
    assert shop.partition(orders, Reading(), twice).items_sha256 == once.items_sha256
    assert shop.notes == [f"Rows of {twice} that repeat an earlier one were left out: 2."]


def test_lists_and_missing_values_are_compared_too(tmp_path):
    lists = pa.array([["x"], None, ["x"], None], pa.list_(pa.string()))
    table = {"item_id": [*"abab"], "tags": lists, "price": [float("nan"), 1.0, None, 1.0]}
    pq.write_table(pa.table(table), tmp_path / "items.parquet")
    found = check_catalog(read_table(tmp_path / "items.parquet"))
    assert (found.items["item_id"].tolist(), found.repeats) == (["a", "b"], 2)


def test_item_rows_that_contradict_another_are_refused_or_left_out(shop):
    orders = shop.write("orders.csv", "user_id,item_id\nu,a\nv,b\n")
    rows = ITEMS + "a,Adapter,1.5,x|y\nb,Bulb,2.5,\nb,Bulb,2,y\na,Lamp,1.5,x|y\n"
    items = shop.write("items.csv", rows)
    with pytest.raises(InvalidInput) as caught:
        shop.partition(orders, Reading(), items)
    assert (caught.value.row, caught.value.option) == (5, ("--bad-rows", "skip"))
    assert caught.value.rule == (
        "item_id 'b' already occurs in row 3, but here with price '2.5', not '2', tags (empty), not 'y' "
        "(2 of 6 rows contradict an earlier one)"
    )
    made = shop.partition(orders, SKIP, items)
    assert read_items(made)["title"].tolist() == ["Adapter", "Bulb"]
    assert shop.notes == [
        f"Rows of {items} that repeat an earlier one were left out: 2.",
        f"2 of 6 rows of {items} were left out (row 5: item_id 'b' already occurs in row 3, but here with "
        "price '2.5', not '2', tags (empty), not 'y'; row 7: item_id 'a' already occurs in row 2, but here "
        "with title 'Lamp', not 'Adapter').",
    ]
    # A column that is left out contradicts nothing.
    columns = ColumnOptions(left_out=frozenset({"price", "tags"}))
    with pytest.raises(
        InvalidInput, match="row 7: item_id 'a' already occurs in row 2, but here with title 'Lamp'"
    ):
        check_catalog(read_table(items), columns)


def test_user_rows_that_repeat_another_count_once_and_only_the_client_counts(shop):
    orders = shop.write("orders.csv", "user_id,item_id\nu,a\nv,b\n")
    users = shop.write("users.csv", "user_id,town,visit\nu,Bonn,1\nv,Bern,1\nu,Bonn,2\n")
    made = shop.partition(orders, Reading(), by="town", users=users)
    assert {each.id for each in made.clients} == {"bonn-x-" + made.clients[1].id[-12:], made.clients[0].id}
    assert shop.notes == [f"Rows of {users} that repeat an earlier one were left out: 1."]
    users.write_text("user_id,town\nu,Bonn\nv,Bern\nu,Berlin\n,Bern\n")
    with pytest.raises(InvalidInput, match=r"row 5: user_id is empty"):
        shop.partition(orders, Reading(), by="town", users=users)
    shop.notes.clear()
    assert pairs(shop.partition(orders, SKIP, by="town", users=users)) == [("u", "a"), ("v", "b")]
    assert shop.notes == [
        f"2 of 4 rows of {users} were left out (row 4: user_id 'u' already occurs in row 2, but here with "
        "town 'Berlin', not 'Bonn'; row 5: user_id is empty)."
    ]


UNKNOWN = "user_id,item_id\nu,z\nu,a\nv,b\nw,y\nv,z\n"


def test_unknown_items_are_refused_unless_the_user_decides(shop):
    orders, items = shop.write("orders.csv", UNKNOWN), shop.write("items.csv", ITEMS)
    with pytest.raises(InvalidInput) as caught:
        shop.partition(orders, Reading(), items)
    assert (caught.value.row, caught.value.option) == (2, ("--unknown-items", "keep"))
    assert "(2 of 4 items, in 3 of 5 rows, are not there, such as 'z', 'y')" in caught.value.rule
    assert "--unknown-items drop" in caught.value.next_step


def test_unknown_items_are_added_behind_the_others_without_features(shop):
    orders, items = shop.write("orders.csv", UNKNOWN), shop.write("items.csv", ITEMS)
    made = shop.partition(orders, Reading(unknown_items="keep"), items)
    found = read_items(made)
    assert found["item_id"].tolist() == ["a", "b", "y", "z"]
    assert found["title"].tolist() == ["Adapter", "Bulb", "y", "z"]
    assert found["price"].tolist()[:2] == [1.5, 2.0]
    assert found["price"].isna().tolist() == [False, False, True, True]
    assert [list(each) for each in found["tags"]] == [["x", "y"], ["y"], [], []]
    assert [each.missing for each in made.columns] == [2, 2]
    assert len(pairs(made)) == 5
    assert shop.notes == [
        f"2 of 4 items, in 3 of 5 rows, are not in {items}, such as 'z', 'y': they were added without "
        "title and features."
    ]
    # The order of the rows does not matter to the catalogue.
    again = shop.write("again.csv", "user_id,item_id\nw,y\nv,z\nu,z\nu,a\nv,b\n")
    assert shop.partition(again, Reading(unknown_items="keep"), items).items_sha256 == made.items_sha256


def test_rows_with_unknown_items_are_left_out(shop):
    orders, items = shop.write("orders.csv", UNKNOWN), shop.write("items.csv", ITEMS)
    made = shop.partition(orders, Reading(unknown_items="drop"), items)
    assert pairs(made) == [("u", "a"), ("v", "b")]
    assert read_items(made)["item_id"].tolist() == ["a", "b"]
    # A user who has no other interaction is no client.
    assert [each.id for each in made.clients] == ["user-u", "user-v"]
    assert shop.notes == [
        f"2 of 4 items, in 3 of 5 rows, are not in {items}, such as 'z', 'y': these rows were left out."
    ]
    orders.write_text("user_id,item_id\nu,x\n")
    with pytest.raises(InvalidInput, match="no row has an item of the items file"):
        shop.partition(orders, Reading(unknown_items="drop"), items)


# Of the items used once, "b" comes first in the alphabet.
MANY = "user_id,item_id\nu,d\nu,c\nv,d\nw,b\nw,c\nx,a\nu,a\nx,e\n"


@pytest.mark.parametrize(("most", "kept"), [(1, "a"), (2, "ac"), (4, "abcd"), (9, "abcde")])
def test_only_the_most_used_items_are_kept(shop, most, kept):
    made = shop.partition(shop.write("orders.csv", MANY), Reading(max_items=most))
    assert list(read_items(made)["item_id"]) == list(kept)
    rows = [tuple(line.split(",")) for line in MANY.split()[1:]]
    assert pairs(made) == sorted((user, item) for user, item in rows if item in kept)
    assert len(shop.notes) == (len(kept) < 5)


@pytest.mark.parametrize(
    ("unknown", "most", "kept"),
    # Without the unknown items "a" and "c", the most used are "d" and then "b".
    [("drop", 2, "db"), ("keep", 3, "d")],
)
def test_the_catalogue_is_as_if_the_items_file_listed_the_most_used_items_alone(shop, unknown, most, kept):
    orders = shop.write("orders.csv", MANY)
    head, rows = "item_id,title,tags\n", {"e": "e,E,x|y\n", "d": "d,D,x\n", "b": "b,B,z\n", "f": "f,F,z\n"}
    items = shop.write("items.csv", head + "".join(rows.values()))
    made = shop.partition(orders, Reading(unknown_items=unknown, max_items=most), items)
    assert len(read_items(made)) == most
    few = shop.write("few.csv", head + "".join(rows[each] for each in kept))
    if unknown == "keep":
        listed = [row for row in MANY.split() if row[-1] not in "be"]
        orders = shop.write("orders.csv", "\n".join(listed))
    same = shop.partition(orders, Reading(unknown_items=unknown), few)
    assert (made.items_sha256, made.columns) == (same.items_sha256, same.columns)


def test_rows_are_counted_before_those_of_unknown_items_are_left_out(shop):
    orders, items = shop.write("orders.csv", UNKNOWN + ",a\n"), shop.write("items.csv", ITEMS)
    made = shop.partition(orders, Reading(bad_rows="skip", unknown_items="drop"), items)
    assert pairs(made) == [("u", "a"), ("v", "b")]
    assert shop.notes == [
        f"1 of 6 rows of {orders} were left out (row 7: user_id is empty).",
        f"2 of 4 items, in 3 of 5 rows, are not in {items}, such as 'z', 'y': these rows were left out.",
    ]


def test_names_of_columns_may_differ_between_the_files(shop):
    orders = shop.write("orders.csv", "client,sku,price,shop\nu,a,3,Bonn\nv,b,4,Bonn\n")
    items = shop.write("items.csv", "article,name,price\na,Adapter,1.5\nb,Bulb,2\n")
    users = shop.write("users.csv", "client,town\nu,Bonn\nv,Bern\n")
    names = parsed(["user_id=client,item_id=sku,item_id=article,rating=price,title=name"])
    made = shop.partition(orders, Reading(names), items, by="town", users=users)
    rows = pd.concat(map(read_interactions, made.clients))
    assert sorted(rows["rating"]) == [3.0, 4.0]
    # A price of the items is no rating.
    assert read_items(made).columns.tolist() == ["item_id", "title", "price"]
    assert read_items(made)["title"].tolist() == ["Adapter", "Bulb"]
    plain = shop.write("plain.csv", "user_id,item_id,rating,shop\nu,a,3,Bonn\nv,b,4,Bonn\n")
    listed = shop.write("listed.csv", "item_id,title,price\na,Adapter,1.5\nb,Bulb,2\n")
    people = shop.write("people.csv", "user_id,town\nu,Bonn\nv,Bern\n")
    assert shop.partition(plain, Reading(), listed, by="town", users=people).digest == made.digest
    with pytest.raises(InvalidInput, match="timestamp is the column 'when', which no file has"):
        shop.partition(orders, Reading(parsed(["user_id=client,item_id=sku,timestamp=when"])))


def test_columns_that_seem_to_be_optional_ones_are_noted(shop):
    orders = shop.write("orders.csv", "user_id,item_id,rating,bought at,shop\nu,a,1,5,x\nv,b,2,6,y\n")
    items = shop.write("items.csv", "item_id,product name,price\na,Adapter,1.5\nb,Bulb,2\n")
    shop.partition(orders, Reading(), items)
    assert shop.notes == [
        f"{orders} has no timestamp. If that is the column 'bought at', give "
        "--columns 'timestamp=bought at'.",
        f"{items} has no title. If that is the column 'product name', give --columns 'title=product name'.",
    ]


def test_nothing_is_noted_of_files_without_faults(shop):
    orders, items = shop.write("orders.csv", "user_id,item_id\nu,a\nv,b\n"), shop.write("items.csv", ITEMS)
    strict = shop.partition(orders, Reading(), items)
    manifest = json.loads((strict.root / "partition.json").read_text())
    for reading in (SKIP, Reading(unknown_items="keep"), Reading(unknown_items="drop")):
        made = shop.partition(orders, reading, items)
        assert json.loads((made.root / "partition.json").read_text()) == manifest
    assert shop.notes == []
