"""A silo's interactions from a folder of files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from models.errors import InvalidInput
from tasks.datasets.source import FolderSource, SourceRows, read_source

HEADER = "user_id,item_id,rating,timestamp\n"


def rows(found: SourceRows) -> list[tuple]:
    """Return the interactions as tuples, in order."""
    got = found.interactions
    columns = [got.users[got.user_codes], got.items[got.item_codes]]
    columns += [each.tolist() for each in (got.ratings, got.timestamps) if each is not None]
    return list(zip(*columns, strict=True))


def folder_of(tmp_path: Path, files: dict[str, str]) -> FolderSource:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return FolderSource(folder)


def test_files_are_read_by_name_and_rows_keep_their_order(tmp_path):
    source = folder_of(
        tmp_path,
        {
            "b.csv": HEADER + "u1,z,1,7\nu3,a,2,7\n",
            "a.csv": HEADER + "u2,b,4.5,1970-01-01T00:00:09\nu1,b,3,7\n",
            "c.csv": "timestamp,rating,item_id,shop,user_id\n7,5,c,north,u1\n",
            ".hidden.csv": "x",
            "_SUCCESS": "",
        },
    )
    found = read_source(source)
    assert rows(found) == [
        ("u2", "b", 4.5, 9),
        ("u1", "b", 3.0, 7),
        ("u1", "z", 1.0, 7),
        ("u3", "a", 2.0, 7),
        ("u1", "c", 5.0, 7),
    ]
    assert list(found.sources) == ["a.csv", "b.csv", "c.csv"]
    assert found.interactions.users.tolist() == ["u2", "u1", "u3"]


@pytest.mark.parametrize("kind", ["tsv", "parquet"])
def test_other_file_formats_give_the_same_rows(tmp_path, kind):
    folder = tmp_path / "shop"
    folder.mkdir()
    frames = [
        pd.DataFrame({"user_id": ["1", "2"], "item_id": ["a", "b"], "timestamp": [5, 6]}),
        pd.DataFrame({"user_id": ["1"], "item_id": ["b"], "timestamp": [4]}),
    ]
    for number, frame in enumerate(frames):
        if kind == "tsv":
            frame.to_csv(folder / f"{number}.tsv", sep="\t", index=False)
        else:
            # One file may hold numbers where the next one holds text.
            frame.astype({"user_id": "int64"} if number else {}).to_parquet(folder / f"{number}.parquet")
    found = rows(read_source(FolderSource(folder)))
    assert found == [("1", "a", 5), ("2", "b", 6), ("1", "b", 4)]


@pytest.mark.parametrize(
    ("files", "place", "row", "rule"),
    [
        ({"a.csv": HEADER + "u,a,1,1\n", "b.csv": HEADER + "u,b,1,1\nu,,1,1\n"}, "b.csv", 3, "empty"),
        (
            {"a.csv": HEADER + "v,a,1,1\nu,a,1,1\n", "b.csv": HEADER + "u,b,1,1\nv,c,1,1\nu,a,1,1\n"},
            "b.csv",
            4,
            "user 'u' and item 'a' already occur together in row 3 of a.csv",
        ),
        (
            {"a.csv": HEADER + "u,a,1,1\n", "b.csv": "user_id,item_id,timestamp\nu,b,1\n"},
            "b.csv",
            None,
            "this one has no column 'rating', but a.csv has",
        ),
        (
            {"a.csv": "user_id,item_id\nu,a\n", "b.csv": "user_id,item_id,timestamp\nu,b,1\n"},
            "b.csv",
            None,
            "this one has 'timestamp', but a.csv has not",
        ),
        ({"a.csv": HEADER + "u,a,1,1\n", "b.tsv": "x"}, "b.tsv", None, "but a.csv has another"),
        ({"a.csv": HEADER}, "a.csv", None, "no rows below its header"),
        ({"notes.txt": "x"}, "notes.txt", None, "the extension '.txt' is not known"),
        ({".hidden.csv": "x"}, "shop", None, "the folder holds no files"),
    ],
)
def test_a_broken_rule_is_named_with_file_and_row(tmp_path, files, place, row, rule):
    source = folder_of(tmp_path, files)
    with pytest.raises(InvalidInput) as error:
        read_source(source)
    assert (error.value.file.name, error.value.row) == (place, row)
    assert rule in error.value.rule


def test_a_folder_inside_is_refused_because_it_would_be_ignored(tmp_path):
    source = folder_of(tmp_path, {"a.csv": HEADER + "u,a,1,1\n"})
    (source.folder / "year=2024").mkdir()
    with pytest.raises(InvalidInput, match=r"year=2024: only files directly in"):
        read_source(source)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"cannot be read: No such file.*source\.folder"):
        read_source(FolderSource(tmp_path / "absent"))
