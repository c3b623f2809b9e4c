"""Reads users' histories from a file of any size, in batches, and returns them user by user.

The rows of a user may be anywhere in the file. A hash of the user id first distributes them over buckets on
the disk, each of which fits into memory. The buckets are then read one at a time.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tasks.datasets.interaction_tables import seconds_of
from tasks.datasets.tables import first, one_line, refuse

USER, ITEM, TIME = "user_id", "item_id", "timestamp"
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")
_BLOCK_BYTES = 4 << 20
_BATCH_ROWS = 1 << 17
_ROWS_IN_A_BUCKET = 1_000_000
# The least bytes of a row of a text file. Rows are usually longer, and buckets then hold fewer of them.
_BYTES_IN_A_ROW = 12
_MOST_BUCKETS = 200
_UNKNOWN = -1
_BUCKET_SCHEMA = pa.schema(
    [("user", pa.string()), ("row", pa.int32()), ("weight", pa.float64()), ("time", pa.int64())]
)


@dataclass(frozen=True)
class UserHistory:
    """The interactions of one user.

    Attributes:
        user_id: the user.
        weights: item row -> weight, oldest first; in file order if the file has no timestamps. The weights of
            a repeated item are added up, and its latest interaction decides its place.
    """

    user_id: str
    weights: dict[int, float]


@dataclass(frozen=True)
class Buckets:
    """The interactions of a file, distributed over buckets.

    Attributes:
        buckets: their files.
        interactions: number of rows read.
        unknown_interactions: number of those rows whose item the model does not know.
        unknown_items: number of distinct items that the model does not know.
    """

    buckets: tuple[Path, ...]
    interactions: int
    unknown_interactions: int
    unknown_items: int


def write_buckets(
    path: Path,
    folder: Path,
    item_rows: Mapping[str, int],
    weight: str | None,
    on_progress: Callable[[int], None] = lambda rows: None,
) -> Buckets:
    """Write the rows of a file to buckets in `folder`, so that each user's rows are in one bucket.

    Args:
        path: CSV, TSV or Parquet with user_id and item_id, and optionally timestamp and weights.
        folder: an empty folder for the buckets.
        item_rows: item id -> item row of the model.
        weight: the column of weights; None for the column "weight" if there is one.
        on_progress: is called after each batch with the number of rows read.

    Raises:
        InvalidInput: the file cannot be read, lacks a column or has no row, an id is empty, a weight is not a
            positive number, or a timestamp is neither seconds since 1970 nor ISO 8601.
    """
    count = _buckets_for(path)
    buckets = tuple(folder / f"{number:03d}.arrow" for number in range(count))
    index = pd.Index(list(item_rows))
    numbers = np.fromiter(item_rows.values(), dtype=np.int32, count=len(item_rows))
    interactions = unknown_interactions = 0
    unknown: set[str] = set()
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(bucket, _BUCKET_SCHEMA)) for bucket in buckets]
        for users, items, weights, times in _batches(path, weight):
            places = index.get_indexer(pd.Index(items))
            rows = np.where(places < 0, _UNKNOWN, numbers[places]) if len(numbers) else places
            unknown.update(items[places < 0])
            unknown_interactions += int((places < 0).sum())
            interactions += len(users)
            codes, names = pd.factorize(users)
            # The same in every process and on every machine, unlike Python's own hash.
            targets = (pd.util.hash_array(names.to_numpy(dtype=object)) % np.uint64(count))[codes]
            for number in np.unique(targets).tolist():
                at = np.flatnonzero(targets == number)
                names_at = pa.array(users.to_numpy(dtype=object)[at])
                columns = [names_at, rows[at].astype(np.int32), weights[at], times[at]]
                writers[number].write_batch(
                    pa.RecordBatch.from_arrays([pa.array(each) for each in columns], schema=_BUCKET_SCHEMA)
                )
            on_progress(interactions)
    if not interactions:
        refuse(path, "the file has no rows")
    return Buckets(buckets, interactions, unknown_interactions, len(unknown))


def histories_in(bucket: Path) -> list[UserHistory]:
    """Return the histories of a bucket, sorted by user; a history of unknown items alone is empty."""
    with pa.ipc.open_stream(bucket) as reader:
        table = reader.read_all()
    codes, names = pd.factorize(table["user"].to_numpy(), sort=True)
    order = np.lexsort((table["time"].to_numpy(), codes))
    starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
    rows, weights = table["row"].to_numpy()[order], table["weight"].to_numpy()[order]
    found = []
    for number, name in enumerate(names):
        part = slice(starts[number], starts[number + 1])
        own: dict[int, float] = {}
        for row, weight in zip(rows[part].tolist(), weights[part].tolist(), strict=True):
            if row != _UNKNOWN:
                own[row] = own.pop(row, 0.0) + weight
        found.append(UserHistory(str(name), own))
    return found


def _buckets_for(path: Path) -> int:
    kind = path.suffix.lower()
    if kind not in _DELIMITERS and kind not in _PARQUET:
        refuse(path, f"the extension {kind!r} is not known; known are {', '.join([*_DELIMITERS, *_PARQUET])}")
    try:
        size = path.stat().st_size
        if kind in _PARQUET and size:
            rows = pq.ParquetFile(path).metadata.num_rows
        else:
            rows = size // _BYTES_IN_A_ROW
    except FileNotFoundError:
        refuse(path, "the file does not exist")
    except OSError as error:
        refuse(path, f"the file cannot be read ({error.strerror})")
    except pa.ArrowException as error:
        refuse(path, f"the file cannot be read as Parquet ({one_line(error)})")
    if not size:
        refuse(path, "the file is empty (0 bytes)")
    return int(np.clip(-(-rows // _ROWS_IN_A_BUCKET), 1, _MOST_BUCKETS))


def _batches(path: Path, weight: str | None) -> Iterator[tuple[pd.Series, pd.Series, np.ndarray, np.ndarray]]:
    """Yield the checked (users, items, weights, times) of each batch of the file."""
    text = path.suffix.lower() in _DELIMITERS
    names = _text_columns(path) if text else pq.ParquetFile(path).schema_arrow.names
    for name in (USER, ITEM, *([weight] if weight else [])):
        if name not in names:
            rule = f"the column {name!r} is missing; the columns are: {', '.join(names)}"
            refuse(path, rule, row=1 if text else None)
    weight = weight or ("weight" if "weight" in names else None)
    wanted = [USER, ITEM, *([weight] if weight else []), *([TIME] if TIME in names else [])]
    row = 2 if text else 1
    try:
        for batch in _read_text(path, names, wanted) if text else _read_parquet(path, wanted):
            users, items = (_ids(path, batch, name, row) for name in (USER, ITEM))
            weights = _weights(path, batch, weight, row) if weight else np.ones(len(users))
            times = _times(path, batch, row) if TIME in names else np.zeros(len(users), np.int64)
            yield users, items, weights, times
            row += len(users)
    except pa.ArrowException as error:
        refuse(path, f"the file cannot be read ({one_line(error)})")


def _text_columns(path: Path) -> list[str]:
    with path.open("rb") as file:
        line = file.readline(1 << 20)
    try:
        header = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        refuse(path, "the header is not UTF-8", row=1)
    names = next(csv.reader([header], delimiter=_DELIMITERS[path.suffix.lower()]), [])
    return [name.strip() for name in names]


def _read_text(path: Path, names: list[str], wanted: list[str]) -> Iterator[pa.RecordBatch]:
    yield from pa_csv.open_csv(
        path,
        # The parser gives the number of a wrong row only when it runs in one thread.
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=_BLOCK_BYTES, column_names=names, skip_rows=1
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=_DELIMITERS[path.suffix.lower()], newlines_in_values=False, ignore_empty_lines=True
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
        ),
    )


def _read_parquet(path: Path, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(path).iter_batches(batch_size=_BATCH_ROWS, columns=wanted)


def _ids(path: Path, batch: pa.RecordBatch, name: str, row: int) -> pd.Series:
    column = batch.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        try:
            column = pc.cast(column, pa.int64())
        except pa.ArrowInvalid:
            refuse(path, f"{name} is neither text nor a whole number")
    values = pc.cast(column, pa.string())
    empty = pc.equal(pc.fill_null(pc.utf8_trim_whitespace(values), ""), "").to_numpy(zero_copy_only=False)
    if empty.any():
        refuse(path, f"{name} is empty", row=row + first(empty))
    return pd.Series(values.to_numpy(zero_copy_only=False))


def _weights(path: Path, batch: pa.RecordBatch, name: str, row: int) -> np.ndarray:
    column = batch.column(name)
    numbers = np.array(pd.to_numeric(column.to_pandas(), errors="coerce"), dtype=np.float64)
    wrong = ~((numbers > 0.0) & np.isfinite(numbers))
    if wrong.any():
        at = first(wrong)
        refuse(path, f"{name} {column[at].as_py()!r} is not a positive number", row=row + at)
    return numbers


def _times(path: Path, batch: pa.RecordBatch, row: int) -> np.ndarray:
    column = batch.column(TIME)
    seconds = seconds_of(column.to_pandas())
    wrong = np.isnan(seconds)
    if wrong.any():
        at = first(wrong)
        rule = f"{TIME} {column[at].as_py()!r} is neither seconds since 1970 nor ISO 8601"
        refuse(path, rule, row=row + at)
    return seconds.astype(np.int64)
