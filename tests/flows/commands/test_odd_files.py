"""Files that spreadsheets, databases and other programs write: every command that reads them agrees.

The table holds each file with what a user expects of it: the pairs of user and item, or the row and the rule
that it breaks.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli import main
from models.errors import InvalidInput
from tasks.datasets.membership import open_membership
from tasks.datasets.partition_reader import open_partition, read_interactions
from tasks.datasets.source import FolderSource, read_source
from tasks.local.home import Home
from tests.worlds.registered import ITEMS

Pairs = list[tuple[str, str]]
HEAD = "user_id,item_id\n"
TWO = [("u", "1"), ("v", "50")]
UUID = "00000000-0000-0000-0000-000000000007"


TEXT: dict[str, tuple[str | bytes, Pairs | str]] = {
    # Line ends, quotation and blanks.
    "lf.csv": (HEAD + "u,1\nv,50\n", TWO),
    "no-end.csv": (HEAD + "u,1\nv,50", TWO),
    "crlf.csv": ("user_id,item_id\r\nu,1\r\nv,50\r\n", TWO),
    "cr.csv": ("user_id,item_id\ru,1\rv,50\r", TWO),
    "mixed-ends.csv": ("user_id,item_id\r\nu,1\nv,50\r", TWO),
    "bom.csv": ("\ufeffuser_id,item_id\nu,1\nv,50\n", TWO),
    "bom-and-marks.csv": ('\ufeff"user_id","item_id"\n"u","1"\n"v","50"\n', TWO),
    "blanks.csv": ("user_id , item_id\n u,1 \nv , 50\n", TWO),
    "blanks-in-marks.csv": (HEAD + '"u ",1\nv," 50"\n', TWO),
    "blank-before-mark.csv": (HEAD + 'u,1\nv, "50"\n', ", row 3: a blank is before a quotation mark"),
    "title-with-marks.csv": ('user_id,item_id,title\nu,1, "Heroes" live\nv,50," ""x"" y"\n', TWO),
    "wide-blanks.csv": (HEAD + "\u3000u,1\u00a0\nv,50\n", TWO),
    "empty-lines.csv": (HEAD + "\nu,1\n\n\nv,50\n\n", TWO),
    "error-after-empty-lines.csv": (HEAD + "\nu,1\n\n\nv,\n", ", row 6: item_id is empty"),
    "break-in-text.csv": ('user_id,note,item_id\nu,"a\nb",1\nv,"c\r\nd, ""e""",50\n', TWO),
    "error-after-break.csv": ('user_id,note,item_id\nu,"a\nb",1\nv,"c",\n', ", row 3: item_id is empty"),
    "break-in-header.csv": ('user_id,"a\nnote",item_id\nu,x,1\nv,y,50\n', TWO),
    "break-in-id.csv": (HEAD + 'u,1\n"v\nw",50\n', ", row 3: user_id holds a line break"),
    "mark-in-text.csv": (HEAD + 'u"v,1\n"w""x",50\n', [('u"v', "1"), ('w"x', "50")]),
    "open-mark.csv": (HEAD + 'u,1\nv,"50\nw,12\n', ", row 3: a quotation mark is not closed"),
    "tabs.tsv": ("user_id\titem_id\nu\t1\nv\t50\n", TWO),
    "atomic.inter": ('user_id:token\titem_id:token\nu\t1\n"v\t50\n', [("u", "1"), ('"v', "50")]),
    # Columns.
    "index.csv": (",user_id,item_id\n0,u,1\n1,v,50\n", TWO),
    "spare-columns.csv": ("user_id,item_id,,\nu,1,,\nv,50,,\n", TWO),
    "twice.csv": ("user_id,item_id,x,x\nu,1,2,3\n", ", row 1: the column 'x' occurs twice"),
    "missing.csv": (
        "user_id,item\nu,1\n",
        ", row 1: the column 'item_id' is missing; the columns are: user_id, item",
    ),
    "semicolons.csv": ("user_id;item_id\nu;1\n", ", row 1: the values are separated by semicolons"),
    "commas.tsv": (HEAD + "u,1\n", ", row 1: the values are separated by commas"),
    "short-row.csv": (HEAD + "u,1\nv\n", ", row 3: the row has 1 values, expected 2 as in the header"),
    "long-row.csv": (HEAD + "u,1\n\nv,1,2\n", ", row 4: the row has 3 values, expected 2 as in the header"),
    "comment.csv": (
        "# made by x\n" + HEAD + "u,1\n",
        ", row 1: the header is expected, but it is '# made by x', and row 2 has 2 values. Remove the lines",
    ),
    "comments.tsv": (
        "#made by x\n\n# on Monday\nuser_id\titem_id\nu\t1\n",
        ", row 1: the header is expected, but it is '#made by x', and row 4 has 2 values",
    ),
    "comment-with-comma.csv": (
        "# a, b\nuser_id,item_id,note\nu,1,x\n",
        ", row 1: the header is expected, but it is '# a', and row 2 has 3 values",
    ),
    "heading.csv": (
        "Sales of June\n\n" + HEAD + "u,1\n",
        ", row 1: the header is expected, but it is 'Sales of June', and row 3 has 2 values",
    ),
    "comment-as-id.csv": (HEAD + "#u,1\nv,50\n", [("#u", "1"), ("v", "50")]),
    "mark-before-name.csv": (
        "#user_id,item_id\nu,1\n",
        ", row 1: the column 'user_id' is missing; the columns are: #user_id, item_id",
    ),
    # What the header lacks comes first.
    "missing-and-ragged.csv": ("user_id,item\nu,1\nv\n", ", row 1: the column 'item_id' is missing"),
    "blanks-twice.csv": (
        "user_id,item_id,x , x\nu,1,2,3\n",
        ", row 1: the column 'x' occurs twice; the columns are: user_id, item_id, x, x",
    ),
    # Ids are text as it is written.
    "decimals.csv": (HEAD + "1.0,1e3\n007,1\n", [("1.0", "1e3"), ("007", "1")]),
    "big.csv": (HEAD + "9007199254740993,1\n1e400,50\n", [("9007199254740993", "1"), ("1e400", "50")]),
    "words.csv": (HEAD + "NA,1\nnull,50\nTrue,12\n", [("NA", "1"), ("null", "50"), ("True", "12")]),
    "scripts.csv": (HEAD + "医生,1\nJosé,50\n", [("医生", "1"), ("José", "50")]),
    "no-user.csv": (HEAD + "u,1\n ,50\n", ", row 3: user_id is empty"),
    # Encodings and files of other kinds.
    "latin-1.csv": ((HEAD + "u,1\nJosé,50\n").encode("latin-1"), ", row 3: the file is not UTF-8: byte 0xe9"),
    "cut.csv": ((HEAD + "u,1\nJosé").encode()[:-1], ", row 3: the file is not UTF-8: byte 0xc3"),
    "utf-16.csv": (
        (HEAD + "u,1\n").encode("utf-16"),
        ": the file is not UTF-8: byte 0xff at offset 0; it seems",
    ),
    "utf-16-le.csv": (
        (HEAD + "u,1\n").encode("utf-16-le"),
        ": the file holds a NUL byte at offset 1; it seems",
    ),
    "utf-16-be.csv": (
        (HEAD + "u,1\n").encode("utf-16-be"),
        ": the file holds a NUL byte at offset 0; it seems",
    ),
    "nul.csv": (HEAD + "u,1\nv\0,50\n", ", row 3: the file holds a NUL byte at offset 21"),
    "workbook.csv": (b"PK\x03\x04\x14\x00", ": the file is an Excel workbook"),
    "packed.csv": (b"\x1f\x8b\x08\x00", ": the file is compressed with gzip"),
    "renamed.csv": (b"PAR1\x15\x04", ": the file is a Parquet file"),
    "renamed.parquet": (HEAD + "u,1\n", ": the file cannot be read as Parquet"),
    "nothing.csv": ("", ": the file is empty (0 bytes)"),
    "nothing.parquet": ("", ": the file is empty (0 bytes)"),
    "end-of-line.csv": ("\n", ", row 1: the header is missing"),
    "header.csv": (HEAD, ": the file has no rows below its header"),
    "header-alone.csv": ("user_id,item_id", ": the file has no rows below its header"),
    "header-and-lines.csv": (HEAD + "\n\r\n", ": the file has no rows below its header"),
    "kind.txt": (HEAD + "u,1\n", ": the extension '.txt' is not known"),
    # Times.
    "times.csv": ("user_id,item_id,timestamp\nu,1, 12.5\nv,50,2020-01-01T00:00:00+02:00\n", TWO),
    "no-time.csv": (
        "user_id,item_id,timestamp\nu,1,1\nv,50,\n",
        ", row 3: timestamp (empty) is neither seconds",
    ),
    "wrong-time.csv": (
        "user_id,item_id,timestamp\nu,1,1\nv,50,0x1f\n",
        ", row 3: timestamp '0x1f' is neither",
    ),
}


def columns(users: Any, items: Any, **more: Any) -> pa.Table:
    return pa.table({"user_id": users, "item_id": items} | more)


PARQUET: dict[str, tuple[pa.Table, Pairs | str]] = {
    "text": (columns(["u", "v"], ["1", "50"]), TWO),
    "large": (
        columns(pa.array(["u", "v"], pa.large_string()), pa.array(["1", "50"], pa.large_string())),
        TWO,
    ),
    "blanks": (columns(["u ", "v"], [" 1", "50\n"]), TWO),
    "bytes": (columns(pa.array([b"u", b"v"]), pa.array([b"1", b"50"])), TWO),
    "fixed-bytes": (columns(["u", "v"], pa.array([b"12", b"50"], pa.binary(2))), [("u", "12"), ("v", "50")]),
    "other-bytes": (
        columns(["u", "v"], pa.array([b"1", b"\xff"])),
        ", row 2: item_id is neither text nor a whole number: its bytes are not UTF-8",
    ),
    "category": (
        columns(pa.array(["u", "v"]).dictionary_encode(), pa.array([1.0, 50.0]).dictionary_encode()),
        TWO,
    ),
    "integers": (columns([7, 8], pa.array([1, 50], pa.uint8())), [("7", "1"), ("8", "50")]),
    "unsigned": (
        columns(["u", "v"], pa.array([2**64 - 1, 50], pa.uint64())),
        [("u", str(2**64 - 1)), ("v", "50")],
    ),
    "big-integers": (
        columns(["u", "v"], [2**53 + 1, 50]),
        [("u", "9007199254740993"), ("v", "50")],
    ),
    "uuid": (columns(pa.array([uuid.UUID(UUID).bytes], pa.uuid()), ["1"]), [(UUID, "1")]),
    "decimals": (columns(["u", "v"], pa.array([Decimal("1.00"), Decimal("50.00")])), TWO),
    "half-decimals": (
        columns(["u", "v"], pa.array([Decimal("1.00"), Decimal("50.50")])),
        ", row 2: item_id 50.50 is neither text nor a whole number",
    ),
    "floats": (columns(["u", "v"], [1.0, 50.0]), TWO),
    "half-floats": (
        columns(["u", "v"], [1.0, 1.5]),
        ", row 2: item_id 1.5 is neither text nor a whole number",
    ),
    "infinite": (
        columns(["u", "v"], [1.0, np.inf]),
        ", row 2: item_id inf is neither text nor a whole number",
    ),
    "not-a-number": (
        columns(["u", "v"], pa.array([1.0, np.nan])),
        ", row 2: item_id nan is neither text nor a whole number",
    ),
    "huge": (columns(["u", "v"], [1.0, 1e20]), ", row 2: item_id 100000000000000000000 is a 64-bit float"),
    "largest-double": (
        columns(["u", "v"], [2.0**53 - 1, 50.0]),
        [("u", "9007199254740991"), ("v", "50")],
    ),
    "doubles": (
        columns(["u", "v"], [1.0, -(2.0**53)]),
        ", row 2: item_id -9007199254740992 is a 64-bit float",
    ),
    "largest-single": (
        columns(["u", "v"], pa.array([2.0**24 - 1, 50.0], pa.float32())),
        [("u", "16777215"), ("v", "50")],
    ),
    "singles": (
        columns(["u", "v"], pa.array([1.0, 2.0**24], pa.float32())),
        ", row 2: item_id 16777216 is a 32-bit float, and from 2^24 on",
    ),
    "largest-half": (
        columns(["u", "v"], pa.array([np.float16(2047), np.float16(50)], pa.float16())),
        [("u", "2047"), ("v", "50")],
    ),
    "halves": (
        columns(["u", "v"], pa.array([np.float16(1), np.float16(2048)], pa.float16())),
        ", row 2: item_id 2048 is a 16-bit float, and from 2^11 on",
    ),
    "null": (columns(["u", "v"], ["1", None]), ", row 2: item_id is empty"),
    "null-integer": (columns([7, None], ["1", "50"]), ", row 2: user_id is empty"),
    "nulls": (columns(["u"], pa.nulls(1)), ", row 1: item_id is empty"),
    "boolean": (columns(["u"], [True]), ", row 1: item_id is a bool, expected text or a whole number"),
    "list": (columns(["u"], [["1"]]), ", row 1: item_id is a list<"),
    "date": (
        columns(["u"], pa.array([0], pa.date32())),
        ", row 1: item_id is a date32[day], expected text or a whole number",
    ),
    "nul": (columns(["u", "v\0"], ["1", "50"]), ", row 2: user_id holds a NUL character"),
    "twice": (
        pa.table([["u"], ["1"], ["2"]], names=["user_id", "item_id", "item_id"]),
        ": the column 'item_id' occurs twice; the columns are: user_id, item_id, item_id",
    ),
    "blanks-in-names": (pa.table([["u", "v"], ["1", "50"]], names=[" user_id", "item_id\t"]), TWO),
    "blanks-twice": (
        pa.table([["u"], ["1"], ["2"]], names=["user_id", "item_id", "item_id "]),
        ": the column 'item_id' occurs twice; the columns are: user_id, item_id, item_id",
    ),
    "without-name": (pa.table([[0, 1], ["u", "v"], ["1", "50"]], names=["", "user_id", "item_id"]), TWO),
    "no-rows": (columns(pa.array([], pa.string()), pa.array([], pa.string())), ": the file has no rows"),
    "zone": (
        columns(["u", "v"], ["1", "50"], timestamp=pa.array([0, 5], pa.timestamp("ns", "Asia/Tokyo"))),
        TWO,
    ),
    "no-time": (
        columns(["u", "v"], ["1", "50"], timestamp=pa.array([0, None], pa.timestamp("us"))),
        ", row 2: timestamp (empty) is neither seconds since 1970 nor ISO 8601",
    ),
    "lasting": (
        columns(["u"], ["1"], timestamp=pa.array([5], pa.duration("s"))),
        ", row 1: timestamp is a duration[s], expected seconds since 1970 or a date",
    ),
}


@dataclass(frozen=True)
class Case:
    """A file, and the pairs that it holds or the end of its error."""

    path: Path
    expected: Pairs | str


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Return all files of the table, each in a folder of its own."""
    made = []
    contents = {
        name: (text.encode() if isinstance(text, str) else text, wanted)
        for name, (text, wanted) in TEXT.items()
    }
    for name, (table, expected) in PARQUET.items():
        sink = io.BytesIO()
        pq.write_table(table, sink)
        contents[f"{name}-column.parquet"] = sink.getvalue(), expected
    for name, (content, expected) in contents.items():
        path = tmp_path_factory.mktemp("odd") / name
        path.write_bytes(content)
        made.append(Case(path, expected))
    return made


@pytest.fixture
def fedrec(monkeypatch, capsys) -> Iterator[Any]:
    """Return a function that runs the command here, and returns its exit code, stdout and stderr."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fedrec", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGTERM, handler)


def refused(case: Case, code: int, errors: str) -> bool:
    """Return whether a command refused the file as expected."""
    return isinstance(case.expected, str) and code == 2 and f"{case.path}{case.expected}" in errors


def test_partition_reads_them(fedrec, cases, tmp_path):
    wrong = {}
    for case in cases:
        out = tmp_path / case.path.name
        code, _, errors = fedrec("data", "partition", "--interactions", case.path, "--by-user", "--out", out)
        if code:
            found: Any = errors
            right = refused(case, code, errors) and not out.exists()
        else:
            rows = pd.concat(map(read_interactions, open_partition(out).clients))
            found = sorted(zip(rows["user_id"], rows["item_id"], strict=True))
            right = found == sorted(case.expected)
        if not right:
            wrong[case.path.name] = found
    assert wrong == {}


def test_score_reads_them(fedrec, cases, tmp_path, world):
    world.register(1, None)
    wrong = {}
    for case in cases:
        out = tmp_path / "scored.parquet"
        out.unlink(missing_ok=True)
        options = ("--users", case.path, "--out", out, "--version", "1", "--json")
        code, shown, errors = fedrec("score", *options)
        if code:
            found: Any = errors
            right = refused(case, code, errors) and not out.exists()
        else:
            # The users are in the output. Of the items, the number of those that the model does not know.
            found = set(pd.read_parquet(out)["user_id"]), json.loads(shown)["unknown_interactions"]
            unknown = sum(item not in set(ITEMS["item_id"]) for _, item in case.expected)
            right = found == ({user for user, _ in case.expected}, unknown)
        if not right:
            wrong[case.path.name] = found
    assert wrong == {}


def test_a_silo_reads_them(cases):
    wrong = {}
    for case in cases:
        try:
            got = read_source(FolderSource(case.path.parent)).interactions
        except InvalidInput as error:
            found: Any = str(error)
            right = refused(case, error.exit_code, found)
        else:
            found = list(zip(got.users[got.user_codes], got.items[got.item_codes], strict=True))
            right = found == case.expected
        if not right:
            wrong[case.path.name] = found
    assert wrong == {}


def test_a_catalogue_is_read_from_them(cases, home):
    """What is wrong with users and times does not matter to it."""
    wrong = {}
    for number, case in enumerate(cases):
        if isinstance(case.expected, str) and any(word in case.expected for word in ("user_id", "timestamp")):
            continue
        try:
            found: Any = open_membership(Home(home / str(number)), case.path, ("one",)).catalog.ids
            right = found == tuple(item for _, item in case.expected)
        except InvalidInput as error:
            found = str(error)
            # To a catalogue it is one of the further columns, which must be of use.
            right = refused(case, error.exit_code, found) or "the column 'user_id' holds" in found
        if not right:
            wrong[case.path.name] = found
    assert wrong == {}
