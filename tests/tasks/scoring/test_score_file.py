"""Batch scoring: every user gets the answer of a single request, whatever the order of the file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from models.errors import InvalidInput
from tasks.scoring import history_stream
from tasks.scoring.recommend import recommender_of
from tasks.scoring.score_file import score_users
from tasks.tables import parquet
from tasks.tracking import registry
from tests.worlds.registered import ITEMS

IDS = ITEMS["item_id"].tolist()
# Rows of one user are not adjacent, and user 7 uses an item twice.
ROWS = [("7", "50", 2.0), ("ann", "12", 1.0), ("7", "1", 0.5), ("zoë", "100", 3.0), ("7", "50", 1.0)]
HISTORIES = {"7": {"1": 0.5, "50": 1.0}, "ann": {"12": 1.0}, "zoë": {"100": 3.0}}


@pytest.fixture
def champion(world: Any) -> Any:
    """Return a world with one version."""
    world.register(1, None)
    return world


def frame(rows: list[tuple[str, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user_id", "item_id", "weight"])


def score(world: Any, users: Path, k: int = 3, **more: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return what the command reports, and the file's rows by user and rank."""
    out = users.parent / "out" / "scored.parquet"
    result = score_users(world.home, users, out, k, version="1", **more)
    return result, pd.read_parquet(out).sort_values(["user_id", "rank"], ignore_index=True)


def expected(world: Any, histories: dict[str, dict[str, float]], k: int = 3) -> pd.DataFrame:
    recommender = recommender_of(registry.load_version(world.client, world.model_name, 1))
    rows = []
    for user_id, history in sorted(histories.items()):
        answer = recommender.recommend(
            [IDS.index(item_id) for item_id in history], k, weights=list(history.values())
        )
        rows += [(user_id, one.rank, one.item_id, one.title, one.score) for one in answer]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id", "title", "score"])


def assert_same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False, rtol=1e-6)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_every_user_gets_the_answer_of_a_single_request(champion, tmp_path, kind):
    users = tmp_path / f"users.{kind}"
    table = frame(ROWS).assign(further="x, y")
    if kind == "parquet":
        table.to_parquet(users)
    else:
        table.to_csv(users, index=False, sep="," if kind == "csv" else "\t")

    result, found = score(champion, users)

    assert_same(found, expected(champion, HISTORIES))
    assert result["users"] == 3
    assert result["interactions"] == 5
    assert result["recommendations"] == len(found) == 2 + 3 + 3
    metadata = pq.read_schema(result["out"]).metadata
    assert metadata[b"fedrec.version"] == b"1"
    assert metadata[b"fedrec.model_sha256"].decode() == result["model_sha256"]


def test_ids_may_be_numbers_in_parquet(champion, tmp_path):
    pd.DataFrame({"user_id": [7, 8], "item_id": [50.0, 12.0]}).to_parquet(tmp_path / "users.parquet")

    _, found = score(champion, tmp_path / "users.parquet")

    assert_same(found, expected(champion, {"7": {"50": 1.0}, "8": {"12": 1.0}}))


def test_another_column_can_be_the_weight(champion, tmp_path):
    frame(ROWS).rename(columns={"weight": "rating"}).to_csv(tmp_path / "users.csv", index=False)

    _, weighted = score(champion, tmp_path / "users.csv", weight="rating")
    _, alike = score(champion, tmp_path / "users.csv")

    assert_same(weighted, expected(champion, HISTORIES))
    assert_same(alike, expected(champion, HISTORIES | {"7": {"1": 1.0, "50": 1.0}, "zoë": {"100": 1.0}}))


def test_unknown_items_are_left_out_and_counted(champion, tmp_path):
    frame([("a", "1", 1.0), ("a", "new", 1.0), ("b", "new", 1.0), ("b", "newer", 1.0)]).to_csv(
        tmp_path / "users.csv", index=False
    )

    result, found = score(champion, tmp_path / "users.csv", k=4)

    assert_same(found, expected(champion, {"a": {"1": 1.0}, "b": {}}, k=4))
    assert (result["unknown_interactions"], result["unknown_items"]) == (3, 2)
    assert result["users_without_known_items"] == 1


def test_a_file_of_which_no_item_is_known_is_refused_and_the_old_output_stays(champion, tmp_path):
    users, out = tmp_path / "users.csv", tmp_path / "out.parquet"
    frame([("a", "new", 1.0), ("b", "newer", 1.0), ("b", "new", 2.0)]).to_csv(users, index=False)
    out.write_bytes(b"of yesterday")

    with pytest.raises(InvalidInput, match=r"knows none of its 2 items.*such as '1', '50', '12'") as caught:
        score_users(champion.home, users, out, 3, version="1")

    assert caught.value.exit_code == 2
    assert out.read_bytes() == b"of yesterday"


@pytest.mark.parametrize(
    ("repeats", "own"),
    [
        ("latest", {"1": 0.5, "50": 1.0}),
        ("first", {"50": 2.0, "1": 0.5}),
        ("sum", {"1": 0.5, "50": 3.0}),
    ],
)
def test_a_repeated_pair_counts_by_the_rule_that_is_given_and_is_counted(champion, tmp_path, repeats, own):
    frame(ROWS).to_csv(tmp_path / "users.csv", index=False)

    result, found = score(champion, tmp_path / "users.csv", repeats=repeats)

    assert_same(found, expected(champion, {**HISTORIES, "7": own}))
    assert (result["repeats"], result["repeats_rule"]) == (1, repeats)


def test_many_buckets_and_batches_change_no_answer(champion, tmp_path, monkeypatch):
    random = np.random.default_rng(2)
    rows = [
        (f"u{user}", IDS[item], float(weight))
        for user, item, weight in zip(
            random.integers(0, 90, 400), random.integers(0, 4, 400), random.uniform(0.1, 5, 400), strict=True
        )
    ]
    histories: dict[str, dict[str, float]] = {}
    for user_id, item_id, weight in rows:
        own = histories.setdefault(user_id, {})
        own.pop(item_id, None)
        own[item_id] = weight
    frame(rows).to_parquet(tmp_path / "users.parquet")
    monkeypatch.setattr(history_stream, "_ROWS_IN_A_BUCKET", 30)
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 37)
    monkeypatch.setattr("tasks.scoring.score_file._ROWS_IN_A_GROUP", 50)

    result, found = score(champion, tmp_path / "users.parquet")

    assert_same(found, expected(champion, histories))
    assert pq.ParquetFile(result["out"]).num_row_groups > 1


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("users.csv", None, "users.csv: the file does not exist"),
        ("users.txt", "user_id,item_id\n", "extension '.txt' is not known; known are .csv, .tsv"),
        ("users.csv", "", r"the file is empty \(0 bytes\)"),
        ("users.csv", "user_id,item_id\n", "the file has no rows"),
        (
            "users.csv",
            "user,item_id\na,1\n",
            "row 1: the column 'user_id' is missing; the columns are: user, ",
        ),
        ("users.csv", "user_id,item_id\na,1\n,1\n", "row 3: user_id is empty"),
        (
            "users.csv",
            "user_id,item_id,timestamp\na,1,3\na,50,soon\n",
            "row 3: timestamp 'soon' is neither seconds since 1970 nor ISO 8601",
        ),
        ("users.csv", "user_id,item_id\na,1\nb, \n", "row 3: item_id is empty"),
        ("users.csv", "user_id,item_id,weight\na,1,1\na,12,many\n", "row 3: weight 'many' is not a positive"),
        ("users.csv", "user_id,item_id,weight\na,1,-1\n", "row 2: weight '-1' is not a positive number"),
        ("users.csv", "user_id,item_id,weight\na,1,inf\n", "row 2: weight 'inf' is not a positive number"),
        ("users.csv", "user_id,item_id\na,1\na,1,7\n", "row 3: the row has 3 values, expected 2 as in"),
        ("users.csv", b"user_id,item_id\n\xff,1\n", "row 2: the file is not UTF-8: byte 0xff at offset 16"),
        ("users.parquet", "user_id,item_id\na,1\n", "the file cannot be read as Parquet"),
    ],
)
def test_a_file_that_cannot_be_scored_is_refused_and_the_old_output_stays(
    champion, tmp_path, name, content, complaint
):
    users, out = tmp_path / name, tmp_path / "out" / "scored.parquet"
    if content is not None:
        users.write_bytes(content if isinstance(content, bytes) else content.encode())
    out.parent.mkdir()
    out.write_bytes(b"of yesterday")

    with pytest.raises(InvalidInput, match=complaint):
        score_users(champion.home, users, out, 3, version="1")

    assert [path.name for path in out.parent.iterdir()] == ["scored.parquet"]
    assert out.read_bytes() == b"of yesterday"


def test_the_output_is_parquet_and_in_a_folder(champion, tmp_path):
    frame(ROWS).to_csv(tmp_path / "users.csv", index=False)

    with pytest.raises(InvalidInput, match=r"must end in \.parquet"):
        score_users(champion.home, tmp_path / "users.csv", tmp_path / "out.csv", 3, version="1")
    with pytest.raises(InvalidInput, match="cannot be written"):
        score_users(
            champion.home, tmp_path / "users.csv", tmp_path / "users.csv" / "o.parquet", 3, version="1"
        )


@pytest.mark.parametrize("name", ["s3:/bucket", "file:", "a #?%20b", "ä::b", "*"])
def test_the_output_may_have_any_name(champion, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    users = tmp_path / f"{name.replace('/', '')} users.csv"
    frame(ROWS).to_csv(users, index=False)
    before = set(tmp_path.iterdir())

    score_users(champion.home, users, Path(name) / "o.parquet", 3, version="1")

    assert set(pd.read_parquet(tmp_path / name / "o.parquet")["user_id"]) == set(HISTORIES)
    assert set(tmp_path.iterdir()) - before == {tmp_path / Path(name).parts[0]}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flows", "score", *arguments]


def test_the_command_prints_one_json_object(champion, tmp_path):
    frame([*ROWS, ("b", "new", 1.0)]).to_csv(tmp_path / "users.csv", index=False)
    arguments = ["--users", str(tmp_path / "users.csv"), "--out", str(tmp_path / "scored.parquet")]

    done = subprocess.run(
        command(*arguments, "-k", "2", "--version", "1", "--json"), capture_output=True, text=True, check=True
    )
    shown = subprocess.run(
        command(*arguments, "--version", "1"), capture_output=True, text=True, check=True
    ).stdout

    result = json.loads(done.stdout)
    assert (result["users"], result["recommendations"], result["k"]) == (4, 8, 2)
    assert f"4 users are in {tmp_path / 'scored.parquet'}" in shown
    assert "1 of 6 interactions were left out, because the model does not know their 1 items" in shown
    refused = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "has no champion" in refused.stderr


def test_an_interrupted_command_leaves_nothing_behind(champion, tmp_path):
    users, out = tmp_path / "users.csv", tmp_path / "out" / "scored.parquet"
    with users.open("w") as file:
        file.write("user_id,item_id\n")
        file.writelines(f"user {number},1\n" for number in range(400_000))
    process = subprocess.Popen(
        command("--users", str(users), "--out", str(out), "--version", "1"), env=os.environ
    )
    # Its private folder shows that it is working.
    while not list(out.parent.glob(".scored*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 128 + signal.SIGTERM
    assert list(out.parent.iterdir()) == []
