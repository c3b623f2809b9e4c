"""From the export of a shop to a partition by printed commands alone; expected values are counted by hand."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from flows.cli import main
from tasks.datasets.partition_reader import open_partition, read_interactions

Done = subprocess.CompletedProcess[str]
# 6 rows can be used: u1 buys 1 twice and 2, u2 buys 3, and u3 buys 1 and 9, which is not among the products.
ORDERS = (
    "order,Customer ID,SKU,order_date,price,Shop\n"
    "1,u1,1,2026-01-01,1.5,Bonn\n"
    "2,u1,2,2026-01-02,2,Bonn\n"
    "\n"
    "3,,1,2026-01-02,1.5,Bonn\n"
    "4,u2,3,2026-01-03,3,Bern\n"
    "5,u2\n"
    "6,u1,1,2026-01-04,1.5,Bonn\n"
    "7,u3,9,2026-01-05,1,Bern\n"
    "8,u3,1,2026-01-06,1.5,Bern\n"
)
PRODUCTS = (
    "SKU,name,brand,price\n"
    "1,Rake,Acme,1.5\n"
    '2,Kite,"Smith, Sons",2\n'
    "3,Fern,Bolt,3 EUR\n"
    "1,Rake,Acme,1.5\n"
    "4,Pen,Cork,4\n"
)


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my orders.csv").write_text(ORDERS, encoding="utf-8")
    (tmp_path / "products.csv").write_text(PRODUCTS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys) -> Iterator[Callable[[list[str]], Done]]:
    """Return a function that runs a command of fedrec in this process."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(command: list[str]) -> Done:
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(command, ended.value.code, *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, handler)


def next_command(done: Done) -> list[str]:
    """Return the command that an error advises."""
    assert done.returncode == 2
    return shlex.split(done.stderr.rpartition("To go on: ")[2])


def followed(run, command: list[str]) -> tuple[list[list[str]], Done]:
    """Run a command and those that the errors advise; return what each added, and the last one."""
    added: list[list[str]] = []
    done = run(command)
    while done.returncode:
        assert len(added) < 9, done.stderr
        following = next_command(done)
        added.append(following[len(command) :])
        command = following
        done = run(command)
    return added, done


def test_a_shop_s_export_becomes_a_partition_by_printed_commands(shop, run):
    start = ["fedrec", "data", "partition", "--interactions", "my orders.csv", "--items", "products.csv"]
    added, done = followed(run, [*start, "--by", "Shop", "--out", "p"])
    assert added == [
        ["--columns", "user_id=Customer ID,item_id=SKU,timestamp=order_date"],
        ["--bad-rows", "skip"],
        ["--repeats", "latest"],
        ["--leave-out", "price"],
        ["--unknown-items", "keep"],
    ]
    for note in (
        "Note: 2 of 8 rows of my orders.csv were left out (row 5: user_id is empty; row 7: the row has 2 "
        "values, expected 6 as in the header).",
        "Note: Rows of products.csv that repeat an earlier one were left out: 1.",
        "Note: 1 of 4 items, in 1 of 6 rows, are not in products.csv, such as '9': they were added without "
        "title and features.",
        "Note: products.csv has no title. If that is the column 'name', give --columns title=name.",
        "  brand  4 labels: 'Acme', 'Bolt', 'Cork', ...; 1 of 5 items have none; not split at ',' (in 1",
    ):
        assert note in done.stdout
    rows = pd.concat(map(read_interactions, open_partition(shop / "p").clients))
    assert sorted(zip(rows["user_id"], rows["item_id"], strict=True)) == [
        ("u1", "1"),
        ("u1", "2"),
        ("u2", "3"),
        ("u3", "1"),
        ("u3", "9"),
    ]


def test_a_file_is_converted_before_by_the_printed_commands(shop, run):
    (shop / "exports").mkdir()
    path = shop / "exports" / "orders.csv"
    path.write_bytes("# made by a till\nSKU;Kunde\n1;J\u00f6rg\n2;Eva\n".encode("latin-1"))
    command = ["fedrec", "data", "partition", "--interactions", str(path), "--by-user", "--out", "p"]
    done = run(command)
    for _ in range(3):
        conversion = done.stderr.partition(": ")[2].partition(" To go on: ")[0]
        step = next(each for each in ("iconv ", "tail ", "python3 ") if each in conversion)
        converting = step + conversion.partition(step)[2].partition(" (")[0]
        subprocess.run(["sh", "-c", converting], check=True)
        command = next_command(done)
        done = run(command)
    _, done = followed(run, command)
    assert [each.id[:4] for each in open_partition(shop / "p").clients] == ["user", "user"]


def test_the_items_of_silos_have_the_same_options(shop, run):
    start = ["fedrec", "data", "items", "--items", "products.csv", "--out", "i.parquet"]
    added, done = followed(run, [*start, "--json"])
    assert added == [["--columns", "item_id=SKU,title=name"], ["--leave-out", "price"]]
    result = json.loads(done.stdout)
    assert (result["items"], result["notes"]) == (
        4,
        ["Rows of products.csv that repeat an earlier one were left out: 1."],
    )
    assert pd.read_parquet("i.parquet")["title"].tolist() == ["Rake", "Kite", "Fern", "Pen"]
    (shop / "products.csv").write_text(PRODUCTS + "1,Spade,Acme,1.5\n5\n", encoding="utf-8")
    further, done = followed(run, [*start, *added[0], *added[1], "--json"])
    assert further == [["--bad-rows", "skip"]]
    (_, left_out) = json.loads(done.stdout)["notes"]
    assert left_out.startswith("2 of 7 rows of products.csv were left out (row 7: item_id '1' already occurs")
    assert "row 8: the row has 1 values, expected 4" in left_out


@pytest.mark.parametrize(
    ("command", "files", "names", "own"),
    [
        *(
            ("data items", "--items products.csv", names, "item_id, title")
            for names in ("item_id", "brand=x", "item_id=", "user_id=SKU", "rating=price")
        ),
        (
            "data partition",
            "--interactions products.csv --by-user",
            "weight=price",
            "user_id, item_id, rating, timestamp, title",
        ),
        *(
            ("score", "--users products.csv", names, "user_id, item_id, timestamp, weight")
            for names in ("rating=price", "title=name")
        ),
    ],
)
def test_names_are_checked(shop, run, command, files, names, own):
    given = ["--columns", names, "--out", "made.parquet"]
    done = run(["fedrec", *command.split(), *files.split(), *given])
    assert done.returncode == 2
    example = {
        "data items": "item_id=sku,title=name",
        "data partition": "user_id=customer,item_id=sku,title=name",
        "score": "user_id=customer,item_id=sku",
    }[command]
    complaint = (
        f"--columns takes NAME=COLUMN, such as {example}, got {names!r}. The names of this command are"
    )
    assert f"{complaint} {own}.\n" in done.stderr
    assert not (shop / "made.parquet").exists()


def test_an_option_that_did_not_help_is_not_advised_again(shop, run):
    (shop / "users.csv").write_text("user_id,town\nu1,Bonn\nu2,\nu3,Bern\n", encoding="utf-8")
    (shop / "orders.csv").write_text("user_id,item_id\nu1,1\nu2,2\nu3,1\n", encoding="utf-8")
    command = ["fedrec", "data", "partition", "--interactions", "orders.csv", "--users", "users.csv"]
    done = run([*command, "--by", "town", "--out", "p", "--bad-rows", "skip"])
    assert "users.csv, row 3: town is empty" in done.stderr
    assert "To go on" not in done.stderr


def test_score_takes_the_names_too(shop, run, world):
    world.register(1, None)
    (shop / "orders.csv").write_text("sku,client,weight\n1,u,2\n50,v,1\n", encoding="utf-8")
    (shop / "plain.csv").write_text("item_id,user_id,weight\n1,u,2\n50,v,1\n", encoding="utf-8")
    start = ["fedrec", "score", "--version", "1", "--json"]
    added, done = followed(run, [*start, "--users", "orders.csv", "--out", "a.parquet"])
    assert added == [["--columns", "user_id=client,item_id=sku"]]
    assert json.loads(done.stdout)["users"] == 2
    assert run([*start, "--users", "plain.csv", "--out", "b.parquet"]).returncode == 0
    assert pd.read_parquet("a.parquet").equals(pd.read_parquet("b.parquet"))
    wrong = run([*start, "--users", "plain.csv", "--out", "c.parquet", "--columns", "item_id=sku"])
    assert "item_id is the column 'sku', which no file has" in wrong.stderr
    assert not (shop / "c.parquet").exists()


def test_a_column_of_weights_that_does_not_exist_is_named(shop, run, world):
    world.register(1, None)
    (shop / "orders.csv").write_text("user_id,item_id,stars,date\nu,1,2,7\nv,50,1,8\n", encoding="utf-8")
    start = ["fedrec", "score", "--version", "1", "--users", "orders.csv", "--out", "a.parquet"]
    for given, complaint in (
        ("--weight foo", "'foo' of weights; the columns are: user_id, item_id, stars, date. Give --w"),
        (
            "--weight Stars",
            "the columns are: user_id, item_id, stars, date. Did you mean --weight stars?",
        ),
        ("--columns weight=stars --weight stars", "item_id, weight, date. Did you mean --weight weight?"),
        ("--columns timestamp=date --weight foo", "the columns are: user_id, item_id, stars, timestamp."),
    ):
        done = run([*start, *given.split()])
        assert done.returncode == 2
        assert complaint in done.stderr
        assert "--columns" not in done.stderr
        assert not (shop / "a.parquet").exists()
    assert run([*start, "--columns", "weight=stars", "--weight", "weight"]).returncode == 0
