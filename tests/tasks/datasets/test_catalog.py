"""The catalogue of a partition: one judgement for all file formats, stored once, and read without another."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import CorruptArtifact, InvalidInput
from models.recommenders.items.features import ItemFeatures
from tasks.datasets.catalog import Catalog, ColumnOptions, check_catalog
from tasks.datasets.client_assignment import ByUser
from tasks.datasets.item_table import FORMAT, item_table, read_item_table
from tasks.datasets.partition import make_partition
from tasks.datasets.partition_reader import Partition, open_partition, read_items
from tasks.local.checksums import digest_of
from tasks.tables.read import read_table

SHOP = {
    "item_id": ["a", "b", "c", "d"],
    "title": ["Adapter", "Bulb", None, "Drill"],
    "price": [12.5, 7.0, None, 1299.0],
    "stock": [3, 0, 12, 7],
    "brand": ["Brand 5", "Brand 5", "Smith, Sons", None],
    "tags": ["red, small", "red", None, "Science Fiction"],
    "genres": ["Film-Noir|Sci-Fi", "Sci-Fi", "War", None],
    "code": ["007", "010", "7", "0"],
    "on_sale": [True, False, True, True],
    "since": [dt.date(1995, 3, 21), None, dt.date(2001, 12, 1), dt.date(1995, 3, 21)],
    "text": [
        f"This is article number {word}, and it is a good one." for word in ("one", "two", "six", "ten")
    ],
    "nothing": [None, None, None, None],
}
LABELS = {
    "brand": {"Brand 5": [0, 1], "Smith, Sons": [2]},
    "tags": {"red": [0, 1], "small": [0], "Science Fiction": [3]},
    "genres": {"Film-Noir": [0], "Sci-Fi": [0, 1], "War": [2]},
    "code": {"007": [0], "010": [1], "7": [2], "0": [3]},
    "on_sale": {"true": [0, 2, 3], "false": [1]},
}
NUMBERS = {
    "price": [12.5, 7.0, None, 1299.0],
    "stock": [3.0, 0.0, 12.0, 7.0],
    "since": [19950321.0, None, 20011201.0, 19950321.0],
}
OPTIONS = ColumnOptions(split={"brand": "none"})


def written(folder: Path, kind: str, columns: dict[str, Any] = SHOP) -> Path:
    """Write the columns as an items file of this kind."""
    path = folder / f"items.{kind}"
    frame = pd.DataFrame(columns)
    if kind in ("csv", "tsv"):
        frame.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
    elif kind == "parquet":
        pq.write_table(pa.table({name: pa.array(cells) for name, cells in columns.items()}), path)
    else:
        path = path.with_suffix(".parquet")
        frame.astype({"genres": "category", "stock": "Int64"}).to_parquet(path)
    return path


def partitioned(folder: Path, items: Path, options: ColumnOptions, name: str = "partition") -> Partition:
    interactions = folder / "interactions.csv"
    interactions.write_text("user_id,item_id\nu,a\nv,b\n", encoding="utf-8")
    return make_partition(interactions, folder / name, ByUser(), items=items, columns=options)


def features_in(items: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the labels and the numbers of the items, as plain values."""
    found = ItemFeatures.of(items)
    labels = {
        column: {label: rows.tolist() for label, rows in by_label.items()}
        for column, by_label in found.labels.items()
    }
    numbers = {
        name: [None if np.isnan(number) else number for number in values]
        for name, values in found.numbers.items()
    }
    return labels, numbers


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "pandas"])
def test_equal_columns_are_judged_the_same_in_every_format(tmp_path, kind):
    made = partitioned(tmp_path, written(tmp_path, kind), OPTIONS)

    assert features_in(read_items(made)) == (LABELS, NUMBERS)
    assert read_items(made)["title"].tolist() == ["Adapter", "Bulb", "c", "Drill"]
    facts = {each.name: each for each in made.columns}
    assert list(facts) == [name for name in SHOP if name not in ("item_id", "title")]
    assert {name: facts[name].kind for name in facts if name not in {*LABELS, *NUMBERS}} == {
        "text": "text",
        "nothing": "empty",
    }
    price, tags, since = facts["price"], facts["tags"], facts["since"]
    assert (price.kind, price.least, price.greatest, price.missing) == ("numbers", 7.0, 1299.0, 1)
    assert (tags.labels, tags.separator, tags.examples, tags.missing) == (
        3,
        ",",
        ("red", "Science Fiction", "small"),
        1,
    )
    assert (since.kind, since.least, since.greatest) == ("dates", 19950321.0, 20011201.0)
    assert facts["genres"].separator == "|"
    assert facts["brand"].separator is None


def test_every_format_gives_the_same_bytes(tmp_path):
    digests = {
        partitioned(tmp_path, written(tmp_path, kind), OPTIONS, kind).items_sha256
        for kind in ("csv", "tsv", "parquet", "pandas")
    }
    assert len(digests) == 1


def test_lists_of_a_typed_file_and_of_a_text_file_are_labels(tmp_path):
    lists = [["War", "a|b", "War"], [], ["Film Noir", None], None]
    ids = {"item_id": ["a", "b", "c", "d"]}
    typed = partitioned(tmp_path, written(tmp_path, "parquet", ids | {"genres": lists}), ColumnOptions())
    texts = [None if own is None else json.dumps(own) for own in lists]
    text = partitioned(tmp_path, written(tmp_path, "csv", ids | {"genres": texts}), ColumnOptions(), "text")

    for made in (typed, text):
        labels, _ = features_in(read_items(made))
        assert labels == {"genres": {"War": [0], "a|b": [0], "Film Noir": [2]}}
        (facts,) = made.columns
        assert (facts.labels, facts.missing) == (3, 2)
    assert typed.items_sha256 == text.items_sha256


def test_the_items_of_a_partition_make_an_equal_catalogue(tmp_path):
    made = partitioned(tmp_path, written(tmp_path, "csv"), OPTIONS)
    again = partitioned(tmp_path, made.items_path, ColumnOptions(), "again")
    assert again.items_sha256 == made.items_sha256
    facts = {
        each.name: (each.labels, each.missing, each.least) for each in made.columns if each.name in NUMBERS
    }
    assert {
        each.name: (each.labels, each.missing, each.least) for each in again.columns if each.name in facts
    } == facts


def test_a_decision_about_a_column_stays_in_the_item_table(tmp_path):
    prose = {"item_id": SHOP["item_id"], "text": SHOP["text"], "code": ["1", "2", None, "2"]}
    options = ColumnOptions({"text": "none", "code": "none"})
    made = partitioned(tmp_path, written(tmp_path, "csv", prose), options)
    again = partitioned(tmp_path, made.items_path, ColumnOptions(), "again")
    assert again.items_sha256 == made.items_sha256
    assert features_in(read_items(again))[0]["code"] == {"1": [0], "2": [1, 3]}
    # A column that somebody added is judged, and an option still counts.
    table = pq.read_table(made.items_path)
    pq.write_table(
        table.append_column("price", pa.array(["1.5", "2", None, None])), tmp_path / "more.parquet"
    )
    more = partitioned(tmp_path, tmp_path / "more.parquet", ColumnOptions({}, frozenset({"text"})), "more")
    assert [(each.name, each.kind) for each in more.columns] == [
        ("text", "left out"),
        ("code", "labels"),
        ("price", "numbers"),
    ]


def test_a_column_can_be_left_out(tmp_path):
    columns = SHOP | {"poster": [b"x", None, b"y", b"z"]}
    items = written(tmp_path, "parquet", columns)
    made = partitioned(tmp_path, items, ColumnOptions({"brand": "none"}, frozenset({"poster"})))
    assert made.columns[-1].kind == "left out"
    assert features_in(read_items(made)) == (LABELS, NUMBERS)


def test_short_floats_are_the_numbers_of_the_text_file(tmp_path):
    prices = [1.1, None, 19.99, 0.1]
    ids = {"item_id": ["a", "b", "c", "d"]}
    text = partitioned(
        tmp_path,
        written(tmp_path, "csv", ids | {"price": prices, "sizes": ["[0.1, 2]", "", "[0.1]", ""]}),
        ColumnOptions(),
    )
    sizes = [[0.1, 2], None, [0.1], None]
    for number, kind in enumerate((pa.float64(), pa.float32(), pa.float16())):
        short = pa.array(prices if kind != pa.float16() else [1.1, None, 19.98, 0.1]).cast(kind)
        columns = ids | {"price": short, "sizes": pa.array(sizes, pa.list_(kind))}
        pq.write_table(pa.table(columns), tmp_path / "items.parquet")
        made = partitioned(tmp_path, tmp_path / "items.parquet", ColumnOptions(), f"typed {number}")
        if kind != pa.float16():
            assert made.items_sha256 == text.items_sha256
        labels, numbers = features_in(read_items(made))
        assert labels == {"sizes": {"0.1": [0, 2], "2": [0]}}
        assert numbers["price"] == ([1.1, None, 19.98, 0.1] if kind == pa.float16() else prices)
    dictionary = pa.table(ids | {"price": pa.array(prices, pa.float32()).dictionary_encode()})
    pq.write_table(dictionary, tmp_path / "items.parquet")
    coded = partitioned(tmp_path, tmp_path / "items.parquet", ColumnOptions(), "coded")
    assert features_in(read_items(coded))[1]["price"] == prices


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        (["4.1", "0.3", "", "-7.7"], [Decimal("4.1"), Decimal("0.3"), None, Decimal("-7.7")]),
        (["-0.0", "0.0", "", "2"], [-0.0, 0.0, None, 2.0]),
    ],
)
def test_numbers_of_a_typed_file_are_stored_as_those_of_a_text_file(tmp_path, text, typed):
    ids = {"item_id": ["a", "b", "c", "d"]}
    digests = {
        partitioned(tmp_path, written(tmp_path, kind, ids | {"x": cells}), ColumnOptions(), kind).digest
        for kind, cells in (("csv", text), ("parquet", typed))
    }
    assert len(digests) == 1


def test_what_is_not_split_and_not_used_is_said_with_the_option(tmp_path):
    columns = {
        "item_id": [*"abcdef"],
        "brand": ["Acme", "Acme", "Bolt", "Smith, Sons", "Cork", None],
        "embedding": [[0.25, 0.5], [0.75, 0.5], [0.1, 0.2], [0.3, 0.4], [0.5, 0.6], None],
        "ean": [2**60 + place for place in range(6)],
    }
    made = partitioned(tmp_path, written(tmp_path, "parquet", columns), ColumnOptions())
    assert {each.name: each.described(6) for each in made.columns} == {
        "brand": "4 labels: 'Acme', 'Bolt', 'Cork', ...; 1 of 6 items have none; "
        "not split at ',' (in 1 of 6 items); to split there: --labels-split brand=,",
        "embedding": "left out: measured numbers are no labels; to take each as one: "
        "--labels-split embedding=none",
        "ean": "6 labels: '1152921504606846976', '1152921504606846977', '1152921504606846978', ...",
    }
    facts = json.loads((made.root / "partition.json").read_text())["catalog"]["columns"]
    # Only where it says something: the digest of other partitions stays as it was.
    assert [each.get("unsplit") for each in facts] == [[",", 1], None, None]
    assert ["unsplit" in each for each in facts] == [True, False, False]
    split = partitioned(tmp_path, tmp_path / "items.parquet", ColumnOptions({"brand": ","}), "split")
    assert set(features_in(read_items(split))[0]["brand"]) == {"Acme", "Bolt", "Cork", "Smith", "Sons"}


def test_the_row_numbers_of_pandas_are_no_feature(tmp_path):
    frame = pd.DataFrame({"item_id": ["a", "b"], "year": [1990, 1991]})
    path = tmp_path / "items.csv"
    frame.to_csv(path)
    assert [each.name for each in partitioned(tmp_path, path, ColumnOptions()).columns] == ["year"]
    pd.read_csv(path).to_csv(path, index=False)
    rows, year = partitioned(tmp_path, path, ColumnOptions(), "again").columns
    assert (rows.name, rows.kind, year.kind) == ("Unnamed: 0", "row numbers", "numbers")


@pytest.mark.parametrize(
    ("cells", "row", "rule"),
    [
        ([None, b"x", None, None], 2, "the column 'x' holds bytes"),
        ([{"a": 1}, None, None, None], 1, "the column 'x' holds structures"),
        ([[["a"]], None, None, None], 1, "the column 'x' holds lists of lists"),
        ([dt.time(1), None, None, None], 1, "the column 'x' holds values of type time"),
        ([1.0, float("inf"), None, None], 2, "the column 'x' holds an infinite number"),
        (["[{'id': 1}]", None, None, None], 1, "the column 'x' holds lists as text"),
        (["1,299.00", "2", None, None], 1, "the column 'x' seems to hold numbers"),
    ],
)
def test_a_column_that_cannot_be_used_is_refused_by_name(tmp_path, cells, row, rule):
    items = written(tmp_path, "parquet", {"item_id": SHOP["item_id"], "x": cells})
    with pytest.raises(InvalidInput) as caught:
        partitioned(tmp_path, items, ColumnOptions())
    assert f"items.parquet, row {row}: {rule}" in str(caught.value)
    assert "--leave-out x" in caught.value.next_step
    assert ("--labels-split x=none" in caught.value.next_step) == isinstance(cells[0], str)
    assert not (tmp_path / "partition").exists()


def test_a_title_that_is_no_text_is_refused(tmp_path):
    ids = {"item_id": ["a", "b"]}
    items = written(tmp_path, "parquet", ids | {"title": [None, ["b"]]})
    with pytest.raises(InvalidInput, match=r"items\.parquet, row 2: the column 'title' holds lists"):
        partitioned(tmp_path, items, ColumnOptions())
    numbers = written(tmp_path, "parquet", ids | {"title": [1984.0, None]})
    assert read_items(partitioned(tmp_path, numbers, ColumnOptions()))["title"].tolist() == ["1984", "b"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ColumnOptions({"colour": ","}),
            "--labels-split names the column 'colour', but .* are: price, stock",
        ),
        (ColumnOptions({}, frozenset({"title"})), "--leave-out names the column 'title'"),
        (ColumnOptions({"tags": ","}, frozenset({"tags"})), "both name the column 'tags'"),
    ],
)
def test_options_name_columns_that_exist(tmp_path, options, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        partitioned(tmp_path, written(tmp_path, "csv"), options)


def test_a_list_with_a_separator_is_refused_as_a_whole(tmp_path):
    items = written(tmp_path, "parquet", {"item_id": ["a"], "x": [["a"]]})
    with pytest.raises(
        InvalidInput, match=r"items\.parquet: the column 'x' holds lists, so it cannot be split"
    ):
        check_catalog(read_table(items), ColumnOptions({"x": ";"}))


def older_partition(made: Partition, items: pa.Table) -> Partition:
    """Rewrite a partition as one of format 1, whose columns were not judged."""
    pq.write_table(items.replace_schema_metadata(None), made.items_path)
    path = made.root / "partition.json"
    facts = json.loads(path.read_text())
    del facts["catalog"]["columns"]
    facts["catalog"]["sha256"] = hashlib.sha256(made.items_path.read_bytes()).hexdigest()
    facts["format"] = 1
    facts["digest"] = digest_of({"catalog": facts["catalog"], "clients": facts["clients"]})
    path.write_text(json.dumps(facts))
    return open_partition(made.root)


def test_an_older_partition_is_read_as_it_was(tmp_path):
    made = partitioned(tmp_path, written(tmp_path, "csv"), OPTIONS)
    items = pa.table(
        {
            "item_id": SHOP["item_id"],
            "title": SHOP["item_id"],
            "genres": ["Action Sci-Fi", "Action", "", None],
            "bars": ["film noir|war", "war", None, " "],
            "lists": pa.array([["a b"], [], None, ["a b", "c"]]),
            "year": ["1990", None, "1991", "1990"],
            "price": [1.5, None, 2.0, 3.0],
        }
    )
    older = older_partition(made, items)
    assert older.columns == ()
    assert features_in(read_items(older)) == (
        {
            "genres": {"Action": [0, 1], "Sci-Fi": [0]},
            "bars": {"film noir": [0], "war": [0, 1]},
            "lists": {"a": [0, 3], "b": [0, 3], "c": [3]},
            "year": {"1990": [0, 3], "1991": [2]},
        },
        {"price": [1.5, None, 2.0, 3.0]},
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": FORMAT + 1}, f"format {FORMAT + 1}, expected {FORMAT}"),
        ({"columns": {"genres": "numbers"}}, "'genres' does not hold numbers"),
        ({"columns": {"genres": "poetry"}}, "poetry"),
        ({"columns": {"colour": "labels"}}, "colour"),
    ],
)
def test_an_item_table_that_is_not_what_it_says_is_refused(tmp_path, change, complaint):
    made = partitioned(tmp_path, written(tmp_path, "csv"), OPTIONS)
    table = item_table(
        pd.DataFrame({"item_id": ["a", "b", "c", "d"], "title": ["A"] * 4, "genres": [["x"]] * 4})
    )
    facts = json.loads(table.schema.metadata[b"fedrec.items"]) | change
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({b"fedrec.items": json.dumps(facts)}), sink)
    data = sink.getvalue().to_pybytes()
    with pytest.raises((ValueError, KeyError), match=complaint):
        read_item_table(data)
    made.items_path.write_bytes(data)
    manifest = made.root / "partition.json"
    content = json.loads(manifest.read_text())
    content["catalog"]["sha256"] = hashlib.sha256(data).hexdigest()
    content["digest"] = digest_of({"catalog": content["catalog"], "clients": content["clients"]})
    manifest.write_text(json.dumps(content))
    with pytest.raises(CorruptArtifact, match=complaint):
        open_partition(made.root)


def test_what_was_found_is_described_in_a_line(tmp_path):
    made = partitioned(
        tmp_path, written(tmp_path, "csv"), ColumnOptions({"brand": "none"}, frozenset({"code"}))
    )
    lines = {each.name: each.described(4) for each in made.columns}
    assert lines == {
        "price": "numbers from 7 to 1299; 1 of 4 items have none",
        "stock": "numbers from 0 to 12",
        "brand": "2 labels: 'Brand 5', 'Smith, Sons'; 1 of 4 items have none",
        "tags": "3 labels, split at ',': 'red', 'Science Fiction', 'small'; 1 of 4 items have none",
        "genres": "3 labels, split at '|': 'Sci-Fi', 'Film-Noir', 'War'; 1 of 4 items have none",
        "code": "left out: by --leave-out",
        "on_sale": "2 labels: 'true', 'false'",
        "since": "dates from 19950321 to 20011201; 1 of 4 items have none",
        "text": "left out: long texts are no labels; to take each as one: --labels-split text=none",
        "nothing": "left out: no item has a value",
    }


def test_a_catalogue_of_ids_alone_has_no_columns(tmp_path):
    path = written(tmp_path, "csv", {"item_id": ["a", "b"]})
    found = check_catalog(read_table(path))
    assert isinstance(found, Catalog)
    assert (found.items.columns.tolist(), found.columns) == (["item_id", "title"], ())
