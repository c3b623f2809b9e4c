"""Files read whole and in batches; odd files are in tests/flows/commands/test_odd_files.py."""

from __future__ import annotations

import hashlib
import subprocess
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from models.errors import InvalidInput
from tasks.tables import delimited, parquet
from tasks.tables.read import read_table, stream_table
from tests.waiting import until


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal_of(path: Path) -> InvalidInput:
    """Return the error of reading a file whole, after checking that reading it in batches gives the same."""
    with pytest.raises(InvalidInput) as whole:
        read_table(path)
    with pytest.raises(InvalidInput) as batched:
        stream = stream_table(path)
        list(stream.batches(stream.columns))
    assert str(whole.value) == str(batched.value)
    return whole.value


def test_small_batches_have_the_rows_of_the_whole(tmp_path, monkeypatch):
    rows = "".join(f'u{row},"note\n{row}",i{row}\r\n\r\n' for row in range(500)) + "u500,x,\n"
    path = written(tmp_path / "a.csv", "user_id,note,item_id\n" + rows)
    whole = read_table(path)
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 64)
    batches = list(stream_table(path).batches(["item_id", "user_id"]))
    assert len(batches) > 100
    assert [user for batch in batches for user in batch.ids("user_id")] == whole.ids("user_id").tolist()
    assert whole.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    # The header is row 1, and an empty line follows each row but the last.
    for table, position in ((whole, 500), (batches[-1], len(batches[-1].data) - 1)):
        assert table.row(position) == 1002
        with pytest.raises(InvalidInput, match="row 1002: item_id is empty"):
            table.ids("item_id")


def test_rows_of_parquet_are_counted_over_all_batches(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user_id": ["u"] * 9 + [""], "item_id": range(10)}), path)
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 4)
    batches = list(stream_table(path).batches(["user_id"]))
    assert [len(batch.data) for batch in batches] == [4, 4, 2]
    with pytest.raises(InvalidInput, match="row 10: user_id is empty"):
        batches[-1].ids("user_id")
    assert stream_table(path).most_rows == 10


@pytest.fixture
def streams(monkeypatch):
    """Return a list to which the streams are added that Arrow's parser of text files is given."""
    given = []
    parser = pa_csv.open_csv

    def noted(stream, **options):
        given.append(stream)
        return parser(stream, **options)

    monkeypatch.setattr(pa_csv, "open_csv", noted)
    return given


@pytest.mark.parametrize("last", ["x,y\n", "x\n", "x,y,z\n"])
def test_arrow_never_reads_a_stream_of_python(tmp_path, streams, last):
    """Its thread may still read when the process ends, and would abort it if it had to enter Python."""
    path = written(tmp_path / "a.csv", "a,b\n1,2\n" + last)
    for read in (lambda: read_table(path), lambda: list(stream_table(path).batches(["b"]))):
        if last == "x,y\n":
            read()
        else:
            with pytest.raises(InvalidInput, match="row 3: the row has"):
                read()
    assert [type(stream) for stream in streams] == [pa.BufferReader, pa.OSFile]


def test_a_file_is_closed_when_its_reading_ends_early(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 64)
    path = written(tmp_path / "a.csv", "a,b\n" + 500 * "1,2\n")
    batches = stream_table(path).batches(["a"])
    assert len(next(batches).data)
    batches.close()
    ragged = stream_table(written(tmp_path / "b.csv", "a,b\n" + 500 * "1,2\n" + "1\n")).batches(["a"])
    with pytest.raises(InvalidInput, match="row 502"):
        list(ragged)
    # Arrow's thread may have a block to read before it closes the file.
    until(lambda: not open_files_in(tmp_path), what="the reading")


def open_files_in(folder: Path) -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        # One that is closed in the meantime.
        with suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return [target for target in found if target.startswith(str(folder))]


def test_a_damaged_page_of_parquet_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user_id": [f"user {row}" for row in range(5000)]}), path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[100:2000] = bytes(1900)
    assert "the file cannot be read as Parquet" in refusal_of(written(path, bytes(data))).rule


def test_a_row_longer_than_a_block_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 1 << 20)
    path = written(tmp_path / "a.csv", "user_id,note\nu,x\nv," + "y" * (3 << 20) + "\n")
    assert "a row is longer than 1 MB" in refusal_of(path).rule


def test_a_file_without_lines_has_no_header(tmp_path):
    error = refusal_of(written(tmp_path / "a.csv", "x" * 200_000))
    assert (error.row, "the header cannot be read" in error.rule) == (1, True)


def test_an_open_quotation_mark_is_found_in_a_long_file(tmp_path):
    rows = "".join(f"u{row},{row}\n" for row in range(200_000))
    path = written(tmp_path / "a.csv", f'user_id,item_id\n{rows}u,"1\n{rows}')
    assert (refusal_of(path).row, refusal_of(path).rule) == (200_002, "a quotation mark is not closed")


@pytest.mark.parametrize(
    ("content", "step"),
    [
        ("a,b\n€,é\n".encode("cp1252"), "iconv -f WINDOWS-1252 -t UTF-8 {path} > 'it is-utf8.csv'"),
        ("a,b\n1,2\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8 {path} > 'it is-utf8.csv'"),
        ("a,b\n1,2\n".encode("utf-16-be"), "iconv -f UTF-16BE -t UTF-8 {path} > 'it is-utf8.csv'"),
        (b"a,b\n1,\0\n", "tr -d '\\000' < {path} > 'it is-utf8.csv'"),
    ],
)
def test_the_advice_on_bytes_makes_a_file_that_can_be_read(tmp_path, monkeypatch, content, step):
    path = written(tmp_path / "it is.csv", content)
    error = refusal_of(path)
    command = step.format(path=f"'{path}'")
    assert command in error.next_step
    monkeypatch.chdir(tmp_path)
    subprocess.run(["sh", "-c", command], check=True)
    assert read_table(tmp_path / "it is-utf8.csv").columns == ["a", "b"]


def test_a_column_that_pandas_cannot_hold_is_refused_where_it_is_used(tmp_path):
    path = tmp_path / "a.parquet"
    # A day of the year 29349, which Python's dates do not have.
    pq.write_table(pa.table({"item_id": ["1"], "day": pa.array([10_000_000], pa.date32())}), path)
    table = read_table(path)
    assert table.ids("item_id").tolist() == ["1"]
    with pytest.raises(InvalidInput, match=r"a\.parquet: the columns cannot be read"):
        _ = table.frame
