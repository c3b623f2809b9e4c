"""`make_partition`: what it writes, and the one error for every rule that a file can break."""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import InvalidInput
from tasks.datasets.client_assignment import ByChance, ByColumn, ByUser, slug
from tasks.datasets.data_notes import warnings_about
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import CLIENT_ID, open_partition, read_interactions, read_items

INTERACTIONS = """user_id,item_id,rating,timestamp,mood
u1,b,4,100,glad
u2,a,3.5,50,sad
u1,a,5,90,glad
u3,c,1,70,sad
"""
ITEMS = """item_id,title,genres
c,Casablanca,Drama
a,"Amélie, the film",
b,,Comedy
d,Dune,Sci-Fi
"""
USERS = """user_id,age,work
u1,30,Civil Servant
u2,40,Writer
u3,50,Civil Servant
"""


def hash_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:12]


SERVANTS = f"civil-servant-x-{hash_of('Civil Servant')}"
WRITERS = f"writer-x-{hash_of('Writer')}"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.csv" for name in ("interactions", "items", "users")}
    for name, text in (("interactions", INTERACTIONS), ("items", ITEMS), ("users", USERS)):
        paths[name].write_text(text, encoding="utf-8")
    return paths


def refusal(
    interactions: str | bytes,
    folder: Path,
    split=None,
    *,
    items: str | None = None,
    users: str | None = None,
    name: str = "interactions.csv",
) -> InvalidInput:
    """Return the error for these contents. Assert that nothing was left behind."""
    folder = folder / "case"
    folder.mkdir()
    data = interactions.encode() if isinstance(interactions, str) else interactions
    (folder / name).write_bytes(data)
    given = {}
    for key, text in (("items", items), ("users", users)):
        if text is not None:
            given[key] = folder / f"{key}.csv"
            given[key].write_text(text, encoding="utf-8")
    before = sorted(folder.iterdir())
    with pytest.raises(InvalidInput) as caught:
        make_partition(folder / name, folder / "out", split or ByUser(), **given)
    assert sorted(folder.iterdir()) == before
    return caught.value


def test_each_client_gets_the_rows_of_its_users_in_source_order(tmp_path, files):
    made = make_partition(
        files["interactions"],
        tmp_path / "out",
        ByColumn("work"),
        items=files["items"],
        users=files["users"],
    )
    assert [each.id for each in made.clients] == [SERVANTS, WRITERS]
    assert [(each.users, each.interactions) for each in made.clients] == [(2, 3), (1, 1)]
    servants = read_interactions(made.client(SERVANTS))
    assert list(servants.columns) == ["user_id", "item_id", "rating", "timestamp"]
    assert servants.to_numpy().tolist() == [
        ["u1", "b", 4.0, 100],
        ["u1", "a", 5.0, 90],
        ["u3", "c", 1.0, 70],
    ]
    assert servants["rating"].dtype == "float64"
    assert servants["timestamp"].dtype == "int64"


def test_the_catalogue_follows_the_items_file_and_holds_nothing_of_users(tmp_path, files):
    made = make_partition(files["interactions"], tmp_path / "out", ByUser(), items=files["items"])
    assert made.catalog.ids == ("c", "a", "b", "d")
    items = read_items(made)
    # An empty title is replaced by the id.
    assert items["title"].tolist() == ["Casablanca", "Amélie, the film", "b", "Dune"]
    assert items.columns.tolist() == ["item_id", "title", "genres"]


def test_without_an_items_file_the_catalogue_is_the_sorted_ids(tmp_path, files):
    made = make_partition(files["interactions"], tmp_path / "out", ByUser())
    assert made.catalog.ids == ("a", "b", "c")
    assert read_items(made)["title"].tolist() == ["a", "b", "c"]


def test_without_a_title_column_titles_are_ids(tmp_path, files):
    files["items"].write_text("genre,item_id\nx,b\ny,a\nz,c\n", encoding="utf-8")
    made = make_partition(files["interactions"], tmp_path / "out", ByUser(), items=files["items"])
    items = read_items(made)
    assert items.drop(columns="genre").to_dict("list") == {
        "item_id": ["b", "a", "c"],
        "title": ["b", "a", "c"],
    }
    assert [own.tolist() for own in items["genre"]] == [["x"], ["y"], ["z"]]


def test_the_manifest_names_layout_sources_and_digests(tmp_path, files):
    out = tmp_path / "out"
    make_partition(files["interactions"], out, ByColumn("work"), users=files["users"])
    manifest = json.loads((out / "partition.json").read_text(encoding="utf-8"))
    assert manifest["format"] == 2
    assert manifest["by"] == "column:work"
    assert manifest["sources"] == {
        name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in ("interactions", "users")
    }
    assert manifest["catalog"]["path"] == "items.parquet"
    assert manifest["catalog"]["digest"] == hashlib.sha256(b"a\nb\nc").hexdigest()
    assert manifest["clients"][1] == {
        "id": WRITERS,
        "path": f"clients/{WRITERS}/interactions.parquet",
        "sha256": hashlib.sha256((out / f"clients/{WRITERS}/interactions.parquet").read_bytes()).hexdigest(),
        "users": 1,
        "interactions": 1,
    }
    canonical = json.dumps(
        {"catalog": manifest["catalog"], "clients": manifest["clients"]},
        sort_keys=True,
        separators=(",", ":"),
    )
    assert manifest["digest"] == hashlib.sha256(canonical.encode()).hexdigest()


def test_equal_files_give_equal_bytes(tmp_path, files):
    contents = []
    for name in ("one", "two"):
        out = tmp_path / name
        make_partition(files["interactions"], out, ByChance(2, seed=7), items=files["items"])
        contents.append(
            {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        )
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4


def test_the_digest_changes_with_a_single_rating(tmp_path, files):
    first = make_partition(files["interactions"], tmp_path / "one", ByUser())
    files["interactions"].write_text(INTERACTIONS.replace("3.5", "3"), encoding="utf-8")
    second = make_partition(files["interactions"], tmp_path / "two", ByUser())
    changed = [a.id for a, b in zip(first.clients, second.clients, strict=True) if a.sha256 != b.sha256]
    assert changed == ["user-u2"]
    assert first.digest != second.digest


def test_by_user_makes_a_client_of_every_user(tmp_path, files):
    made = make_partition(files["interactions"], tmp_path / "out", ByUser())
    assert [(each.id, each.users, each.interactions) for each in made.clients] == [
        ("user-u1", 1, 2),
        ("user-u2", 1, 1),
        ("user-u3", 1, 1),
    ]


def test_by_column_of_the_interactions_makes_a_client_of_each_value(tmp_path, files):
    made = make_partition(files["interactions"], tmp_path / "out", ByColumn("mood"), users=files["users"])
    assert [(each.id, each.interactions) for each in made.clients] == [("glad", 2), ("sad", 2)]
    assert "mood" not in read_interactions(made.clients[0]).columns


def test_at_random_deals_users_evenly_and_by_seed_alone(tmp_path):
    users = [f"u{i}" for i in range(23)]
    rows = [f"{user},i{j}" for user in users for j in range(2)]
    members = {}
    for name, lines, seed in (("a", rows, 1), ("b", rows[::-1], 1), ("c", rows, 2)):
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(["user_id,item_id", *lines]) + "\n", encoding="utf-8")
        made = make_partition(path, tmp_path / name, ByChance(10, seed))
        members[name] = {each.id: set(read_interactions(each)["user_id"]) for each in made.clients}
    assert sorted(members["a"]) == [f"silo-{i:02}" for i in range(1, 11)]
    assert sorted(len(each) for each in members["a"].values()) == [2] * 7 + [3] * 3
    assert set().union(*members["a"].values()) == set(users)
    # The order of the rows does not matter, the seed does.
    assert members["a"] == members["b"]
    assert members["a"] != members["c"]


@pytest.mark.parametrize("kind", ["tsv", "inter", "parquet", "bom", "crlf"])
def test_other_file_formats_give_the_same_partition(tmp_path, files, kind):
    expected = make_partition(files["interactions"], tmp_path / "csv", ByUser())
    frame = pd.read_csv(files["interactions"])
    path = tmp_path / ("interactions.csv" if kind in ("bom", "crlf") else f"interactions.{kind}")
    if kind == "parquet":
        frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
        frame.to_parquet(path)
    elif kind == "bom":
        path.write_text(INTERACTIONS, encoding="utf-8-sig")
    elif kind == "crlf":
        path.write_bytes(INTERACTIONS.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    else:
        text = INTERACTIONS.replace(",", "\t")
        if kind == "inter":
            header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\tmood:token"
            text = header + text[text.index("\n") :]
        path.write_text(text, encoding="utf-8")
    assert make_partition(path, tmp_path / "other", ByUser()).digest == expected.digest


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        (["4.1", "0.3"], pa.array([Decimal("4.1"), Decimal("0.3")])),
        (["-0.0", "0.5"], pa.array([-0.0, 0.5])),
        (["-0", "3"], pa.array([0, 3])),
    ],
)
def test_ratings_of_a_typed_file_make_the_partition_of_a_text_file(tmp_path, written, typed):
    text, parquet = tmp_path / "r.csv", tmp_path / "r.parquet"
    text.write_text(f"user_id,item_id,rating\nu,a,{written[0]}\nv,b,{written[1]}\n", encoding="utf-8")
    pq.write_table(pa.table({"user_id": ["u", "v"], "item_id": ["a", "b"], "rating": typed}), parquet)
    made = [make_partition(path, tmp_path / path.suffix[1:], ByUser()) for path in (text, parquet)]
    assert made[0].digest == made[1].digest


def test_whole_numbers_of_parquet_are_ids_without_a_point(tmp_path):
    path = tmp_path / "interactions.parquet"
    pd.DataFrame({"user_id": [7, 8], "item_id": [1.0, 2.0]}).to_parquet(path)
    made = make_partition(path, tmp_path / "out", ByUser())
    assert made.catalog.ids == ("1", "2")
    assert [each.id for each in made.clients] == ["user-7", "user-8"]


def test_ids_of_text_files_are_kept_as_written(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_text("item_id,user_id\n007,NA\n7,null\n", encoding="utf-8")
    made = make_partition(path, tmp_path / "out", ByUser())
    assert made.catalog.ids == ("007", "7")
    assert read_interactions(made.client(f"user-na-x-{hash_of('NA')}"))["user_id"].tolist() == ["NA"]
    assert read_interactions(made.client(f"user-na-x-{hash_of('NA')}")).columns.tolist() == [
        "user_id",
        "item_id",
    ]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("881250949", 881250949),
        ("881250949.9", 881250949),
        ("-1.5", -2),
        ("8.8e8", 880000000),
        ("1970-01-02", 86400),
        ("1970-01-01T01:00:00Z", 3600),
        ("1970-01-01 01:00:00.75", 3600),
        ("1970-01-01T02:00:00+02:00", 0),
        ("2500-01-01T00:00:00Z", 16725225600),
    ],
)
def test_timestamps_are_seconds_since_1970_utc(tmp_path, written, seconds):
    path = tmp_path / "interactions.csv"
    # Next to a date, a number is parsed as it is alone.
    path.write_text(
        f"user_id,item_id,timestamp\na,x,{written}\na,y,1970-01-01\n",
        encoding="utf-8",
    )
    made = make_partition(path, tmp_path / "out", ByUser())
    assert read_interactions(made.clients[0])["timestamp"].tolist() == [seconds, 0]


HEADER = "user_id,item_id,rating,timestamp\n"
GOOD = "u,a,1,1\n"


@pytest.mark.parametrize(
    ("text", "row", "rule"),
    [
        ("user_id,rating\nu,1\n", 1, "column 'item_id' is missing; the columns are: user_id, rating"),
        (
            "user_id;item_id\nu;1\n",
            1,
            "the values are separated by semicolons, expected commas: the only column is 'user_id;item_id'",
        ),
        ("user_id,item_id,item_id\nu,a,b\n", 1, "column 'item_id' occurs twice"),
        (HEADER + GOOD + ",b,1,1\n", 3, "user_id is empty"),
        (HEADER + GOOD + "u,  ,1,1\n", 3, "item_id is empty"),
        (HEADER + GOOD + "u,b,,1\n", 3, "rating (empty) is not a finite number"),
        *(
            (HEADER + GOOD + f"u,b,{rating},1\n", 3, f"rating '{rating}' is not a finite number")
            for rating in ("good", "nan", "inf")
        ),
        (HEADER + GOOD + "u,b,1,\n", 3, "timestamp (empty) is neither"),
        *(
            (HEADER + GOOD + f"u,b,1,{moment}\n", 3, f"timestamp '{moment}' is neither")
            for moment in ("yesterday", "now", "1999-02-30", "inf", "881250949000")
        ),
        (
            HEADER + GOOD + "v,a,1,1\nu,b,1,1\nu,a,2,2\n",
            5,
            "user 'u' and item 'a' already occur together in row 2",
        ),
        (HEADER + GOOD + "u,b,1\n", 3, "the row has 3 values, expected 4"),
        (HEADER + GOOD + "u,b,1,1,1\n", 3, "the row has 5 values, expected 4"),
        (HEADER + GOOD + "\n,b,1,1\n", 4, "user_id is empty"),
        (HEADER + 'u,"a,1,1\nu,b,1,1\n', 2, "a quotation mark is not closed"),
        ('user_id,item_id\nu,"a\nb"\n', 2, "item_id holds a line break"),
        (HEADER, None, "the file has no rows below its header"),
        ("", None, "the file is empty (0 bytes)"),
        ("\n", 1, "the header is missing"),
    ],
)
def test_a_broken_rule_is_named_with_file_and_row(tmp_path, text, row, rule):
    error = refusal(text, tmp_path)
    assert error.row == row
    assert rule in error.rule
    assert error.file == tmp_path / "case" / "interactions.csv"
    assert str(error.file) in str(error)
    assert row is None or f"row {row}" in str(error)
    assert error.exit_code == 2


def test_latin_1_is_refused_with_offset_and_row(tmp_path):
    error = refusal("user_id,item_id\nu,a\nu,café\n".encode("latin-1"), tmp_path)
    # 16 bytes of header, 4 of the first row, then "u,caf".
    assert (error.row, error.offset) == (3, 25)
    assert "not UTF-8: byte 0xe9 at offset 25" in error.rule


def test_latin_1_is_refused_in_the_items_file(tmp_path, files):
    files["items"].write_bytes(ITEMS.encode("latin-1"))
    with pytest.raises(InvalidInput, match=r"items\.csv, row 3: the file is not UTF-8"):
        make_partition(files["interactions"], tmp_path / "out", ByUser(), items=files["items"])
    assert not (tmp_path / "out").exists()


def test_rows_of_parquet_are_counted_from_one_without_a_header(tmp_path):
    path = tmp_path / "interactions.parquet"
    pd.DataFrame({"user_id": ["u", "v"], "item_id": ["a", None]}).to_parquet(path)
    with pytest.raises(InvalidInput, match="row 2: item_id is empty"):
        make_partition(path, tmp_path / "out", ByUser())
    pd.DataFrame({"user_id": ["u", "v"], "item_id": [1.0, 1.5]}).to_parquet(path)
    with pytest.raises(InvalidInput, match=r"row 2: item_id 1\.5 is neither text nor a whole number"):
        make_partition(path, tmp_path / "out", ByUser())
    pd.DataFrame({"user_id": ["u"]}).to_parquet(path)
    with pytest.raises(InvalidInput, match=r"parquet: the column 'item_id' is missing"):
        make_partition(path, tmp_path / "out", ByUser())


def test_a_date_of_parquet_may_not_be_empty(tmp_path):
    path = tmp_path / "interactions.parquet"
    dates = pd.to_datetime(["1970-01-01T00:00:05", None])
    pd.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "a"], "timestamp": dates}).to_parquet(path)
    with pytest.raises(InvalidInput, match=r"row 2: timestamp \(empty\)"):
        make_partition(path, tmp_path / "out", ByUser())


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("missing.csv", None, "the file does not exist"),
        ("interactions.xlsx", b"x", r"the extension '\.xlsx' is not known; known are \.csv, \.tsv"),
        ("interactions.parquet", b"PAR1 no", "the file cannot be read as Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, rule):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"{name}: {rule}"):
        make_partition(tmp_path / name, tmp_path / "out", ByUser())


def test_a_folder_is_not_accepted_as_a_file(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InvalidInput, match=r"folder\.csv: the file cannot be read"):
        make_partition(tmp_path / "folder.csv", tmp_path / "out", ByUser())


def test_an_item_unknown_to_the_items_file_is_refused(tmp_path):
    error = refusal("user_id,item_id\nu,a\nu,b\nv,b\n", tmp_path, items="item_id,title\na,A\n")
    assert error.row == 3
    assert "item 'b' is not in the items file" in error.rule
    assert "(1 of 2 items, in 2 of 3 rows, are not there, such as 'b')" in error.rule
    assert "Add rows with their item_id" in error.next_step


def test_ids_that_only_look_different_are_counted_with_examples_and_not_merged(tmp_path):
    path = tmp_path / "interactions.csv"
    rows = ["Ann,x", "ann,X", "AN N,y", "bob,cafe\u0301", "carl,caf\u00e9", "dan,z"]
    path.write_text("\n".join(["user_id,item_id", *rows]), encoding="utf-8")

    report = make_partition(path, tmp_path / "out", ByUser()).report

    assert (report.users, report.items) == (6, 6)
    assert (report.alike_users, report.examples_of_users) == (3, ("AN N", "Ann"))
    assert (report.alike_items, report.examples_of_items) == (4, ("X", "x"))
    users, items = warnings_about(report, datetime.now(UTC))[-2:]
    assert users.startswith("3 user ids differ from another one only in case") and "'AN N' and 'Ann'" in users
    assert items.startswith("4 item ids") and "'X' and 'x'" in items


def test_a_mistyped_column_is_reported_before_any_row(tmp_path):
    path = tmp_path / "interactions.csv"
    path.write_text("user_id,item_id,store\n,a,x\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="there is no column 'Sotre'") as caught:
        make_partition(path, tmp_path / "out", ByColumn("Sotre"))
    assert "--by store?" in caught.value.next_step


def test_missing_columns_are_named_together_with_the_nearest_one(tmp_path):
    error = refusal("order_id,User_ID,sku\n1,u,a\n", tmp_path)
    assert (
        "the columns 'user_id' and 'item_id' are missing; the columns are: order_id, User_ID, sku"
        in error.rule
    )
    assert "--columns user_id=User_ID,item_id=sku." in error.next_step
    other = refusal("order_id,item_id\n1,a\n", tmp_path / "case")
    assert "--columns user_id=COLUMN." in other.next_step


def test_the_number_of_empty_ids_and_the_remedy_are_named(tmp_path):
    error = refusal("user_id,item_id\nu,a\n,b\nv,a\n , \n,c\n", tmp_path)
    assert (error.row, error.rule) == (3, "user_id is empty, as in 2 or more other rows")
    assert error.next_step == "Fill it in, or remove the row."


@pytest.mark.parametrize(("head", "step"), [("", "sum to count them"), (",rating", "sum to add up their")])
def test_the_remedy_of_repeats_speaks_of_ratings_only_where_there_are_some(tmp_path, head, step):
    row = "u,a" + (",1" if head else "") + "\n"
    assert step in refusal(f"user_id,item_id{head}\n{row}{row}", tmp_path).next_step


def test_the_command_for_semicolons_makes_a_file_that_is_accepted(tmp_path):
    error = refusal("user_id;item_id\nu;a\nv;'b, c'\n", tmp_path)
    command = error.next_step.removeprefix("Convert it: ").split(" (then")[0]
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    made = make_partition(tmp_path / "interactions-converted.csv", tmp_path / "made", ByUser())
    assert sorted(made.catalog.ids) == ["'b, c'", "a"]


def test_a_repeated_item_is_refused(tmp_path):
    error = refusal("user_id,item_id\nu,a\n", tmp_path, items="item_id,title\na,A\nb,B\na,C\n")
    assert (error.file.name, error.row) == ("items.csv", 4)
    assert "item_id 'a' already occurs in row 2" in error.rule


USER_ROWS = "user_id,work\nu,x\nv,y\n"


@pytest.mark.parametrize(
    ("interactions", "users", "file", "row", "rule"),
    [
        ("u,a\nw,a\nv,a\n", USER_ROWS, "interactions.csv", 3, "user 'w' is not in the users file"),
        ("u,a\n", USER_ROWS, "users.csv", 3, "no user with work 'y' has an interaction"),
        ("u,a\nv,a\n", "user_id,work\nu,x\nv,\n", "users.csv", 3, "work is empty"),
        ("u,a\nv,a\n", USER_ROWS + "u,z\n", "users.csv", 4, "user_id 'u' already occurs in row 2"),
        ("u,a\nv,a\n", "user,work\nu,x\n", "users.csv", 1, "the column 'user_id' is missing"),
        ("u,a\nv,a\n", "user_id,age,sex\nu,1,f\n", "users.csv", None, "users.csv has age, sex"),
    ],
)
def test_users_that_cannot_be_assigned_are_refused(tmp_path, interactions, users, file, row, rule):
    error = refusal("user_id,item_id\n" + interactions, tmp_path, ByColumn("work"), users=users)
    assert (error.file.name, error.row) == (file, row)
    assert rule in error.rule


def test_an_unknown_column_is_refused_with_the_known_ones(tmp_path):
    error = refusal("user_id,item_id,mood\nu,a,x\n", tmp_path, ByColumn("work"))
    assert "no column 'work'" in error.rule
    assert "interactions.csv has mood" in error.rule
    assert "--users" in error.next_step


def test_a_user_with_two_values_in_the_interactions_is_refused(tmp_path):
    text = "user_id,item_id,mood\nu,a,sad\nv,a,glad\nv,b,glad\nu,c,glad\n"
    error = refusal(text, tmp_path, ByColumn("mood"))
    assert error.row == 5
    assert "user 'u' has mood 'glad', but 'sad' in row 2" in error.rule


def test_more_clients_than_users_are_refused(tmp_path):
    error = refusal("user_id,item_id\nu,a\nv,a\n", tmp_path, ByChance(5))
    assert "5 clients for 2 users would leave 3 clients empty" in error.rule
    assert "--random 2" in error.next_step


@pytest.mark.parametrize("value", ["educator", "7", "v1.2_b", "_own", "550e8400-e29b-41d4-a716-446655440000"])
def test_a_value_that_is_safe_in_paths_is_its_own_id(value):
    assert slug(value) == value


@pytest.mark.parametrize(
    ("value", "start"),
    [
        ("Educator", "educator-"),
        ("Sales & Marketing", "sales-marketing-"),
        ("Ärzte", "arzte-"),
        ("../etc", "etc-"),
        ("..", ""),
        ("医生", ""),
        ("7" * 300, "7" * 100 + "-"),
        ("x-0123456789ab", "x-0123456789ab-"),
    ],
)
def test_a_hash_stands_for_what_an_id_leaves_out(value, start):
    assert slug(value) == f"{start}x-{hash_of(value)}"
    assert CLIENT_ID.fullmatch(slug(value))


@pytest.mark.parametrize(
    "values",
    [
        ["北京1店", "上海1店", "1"],
        ["C++", "C#", "C", "c"],
        ["Ab", "aB", "ab", "AB"],
        ["7" * 100 + "1", "7" * 100 + "2", "7" * 100, "7" * 101],
        ["A b", "a-B", "a b", "a-b", "a--b", "-a-b", "a-b-"],
        ["é", "e\u0301", "e", "É"],
        ["🎬", "🎥", "..", ".", "/", "x"],
        # One that looks like the id of another.
        ["Writer", f"writer-x-{hash_of('Writer')}"],
    ],
)
@pytest.mark.parametrize("by", ["user", "shop"])
def test_different_values_make_different_clients(tmp_path, values, by):
    path = tmp_path / "interactions.csv"
    users = values if by == "user" else [f"u{number}" for number in range(len(values))]
    frame = pd.DataFrame({"user_id": users, "item_id": "i", "shop": values})
    frame.to_csv(path, index=False)
    split = ByUser() if by == "user" else ByColumn("shop")
    made = make_partition(path, tmp_path / "out", split)
    # Also where a file system ignores case.
    assert len({each.id.lower() for each in made.clients}) == len(values)
    assert all(CLIENT_ID.fullmatch(each.id) for each in made.clients)
    # A client keeps its id when the others go.
    frame[:1].to_csv(path, index=False)
    [alone] = make_partition(path, tmp_path / "alone", split).clients
    assert alone.id in [each.id for each in made.clients]
    assert read_interactions(alone).equals(read_interactions(made.client(alone.id)))


def test_a_folder_that_is_not_a_partition_is_left_alone(tmp_path, files):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine", encoding="utf-8")
    for replace in (False, True):
        with pytest.raises(InvalidInput, match="not a partition, so it is left unchanged"):
            make_partition(files["interactions"], out, ByUser(), replace=replace)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_left_alone(tmp_path, files):
    with pytest.raises(InvalidInput, match="left unchanged"):
        make_partition(files["interactions"], files["users"], ByUser(), replace=True)
    assert files["users"].read_text(encoding="utf-8") == USERS


def test_an_empty_folder_is_filled(tmp_path, files):
    (tmp_path / "out").mkdir()
    assert len(make_partition(files["interactions"], tmp_path / "out", ByUser()).clients) == 3


def test_a_partition_is_replaced_only_on_request(tmp_path, files):
    out = tmp_path / "out"
    old = make_partition(files["interactions"], out, ByUser())
    with pytest.raises(InvalidInput, match=r"already holds a partition\. Give --force"):
        make_partition(files["interactions"], out, ByChance(2))
    assert open_partition(out).digest == old.digest
    new = make_partition(files["interactions"], out, ByChance(2), replace=True)
    assert [each.id for each in new.clients] == ["silo-01", "silo-02"]
    assert sorted(path.name for path in (out / "clients").iterdir()) == ["silo-01", "silo-02"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "interactions.csv",
        "items.csv",
        "out",
        "users.csv",
    ]


def test_a_failed_replacement_keeps_the_old_partition(tmp_path, files):
    out = tmp_path / "out"
    old = make_partition(files["interactions"], out, ByUser())
    files["interactions"].write_text("user_id,item_id\nu,a\nu,a\n", encoding="utf-8")
    with pytest.raises(InvalidInput):
        make_partition(files["interactions"], out, ByUser(), replace=True)
    assert open_partition(out).digest == old.digest


def test_a_file_in_the_place_of_the_parent_folder_is_refused(tmp_path, files):
    with pytest.raises(InvalidInput, match="cannot be made"):
        make_partition(files["interactions"], files["users"] / "out", ByUser())
