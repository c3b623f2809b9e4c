"""Reads users' histories from a file of any size, in batches, and returns them user by user.

The rows of a user may be anywhere in the file. A hash of the user id first distributes them over buckets on
the disk, each of which fits into memory. The buckets are then read one at a time.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.datasets.repeats import Repeats
from tasks.tables.column_names import ColumnNames
from tasks.tables.read import TableStream, stream_table
from tasks.tables.table import Table, first, nearest, refuse

USER, ITEM, TIME, WEIGHT = "user_id", "item_id", "timestamp", "weight"
_OWN = (USER, ITEM, TIME, WEIGHT)
_ROWS_IN_A_BUCKET = 1_000_000
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
        weights: item row -> weight, oldest first; in file order if the file has no timestamps.
        repeats: number of interactions that were merged with another one of the same item.
    """

    user_id: str
    weights: dict[int, float]
    repeats: int = 0


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
    names: ColumnNames | None = None,
) -> Buckets:
    """Write the rows of a file to buckets in `folder`, so that each user's rows are in one bucket.

    Args:
        path: CSV, TSV or Parquet with user_id and item_id, and optionally timestamp and weights.
        folder: an empty folder for the buckets.
        item_rows: item id -> item row of the model.
        weight: the column of weights; None for the column "weight" if there is one.
        on_progress: is called after each batch with the number of rows read.
        names: what the file calls its columns.

    Raises:
        InvalidInput: the file cannot be read, lacks a column or has no row, an id is empty, a weight is not a
            positive number, or a timestamp is neither seconds since 1970 nor ISO 8601.
    """
    stream = stream_table(path, names, _OWN)
    if names:
        names.require_found([(path, stream.stored, _OWN)])
    stream.require_columns([USER, ITEM])
    if weight:
        _require_weight(stream, weight)
    count = int(np.clip(-(-stream.most_rows // _ROWS_IN_A_BUCKET), 1, _MOST_BUCKETS))
    buckets = tuple(folder / f"{number:03d}.arrow" for number in range(count))
    index = pd.Index(list(item_rows))
    numbers = np.fromiter(item_rows.values(), dtype=np.int32, count=len(item_rows))
    interactions = unknown_interactions = 0
    unknown: set[str] = set()
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(bucket, _BUCKET_SCHEMA)) for bucket in buckets]
        for users, items, weights, times in _batches(stream, weight):
            places = index.get_indexer(pd.Index(items))
            rows = np.where(places < 0, _UNKNOWN, numbers[places]) if len(numbers) else places
            unknown.update(items[places < 0])
            unknown_interactions += int((places < 0).sum())
            interactions += len(users)
            codes, distinct = pd.factorize(users)
            # The same in every process and on every machine, unlike Python's own hash.
            targets = (pd.util.hash_array(distinct.to_numpy(dtype=object)) % np.uint64(count))[codes]
            for number in np.unique(targets).tolist():
                at = np.flatnonzero(targets == number)
                names_at = pa.array(users.to_numpy(dtype=object)[at])
                columns = [names_at, rows[at].astype(np.int32), weights[at], times[at]]
                writers[number].write_batch(
                    pa.RecordBatch.from_arrays([pa.array(each) for each in columns], schema=_BUCKET_SCHEMA)
                )
            on_progress(interactions)
    return Buckets(buckets, interactions, unknown_interactions, len(unknown))


def histories_in(bucket: Path, repeats: Repeats = "latest") -> list[UserHistory]:
    """Return the histories of a bucket, sorted by user; a history of unknown items alone is empty.

    Args:
        bucket: as `write_buckets` wrote it.
        repeats: which of several interactions with an item counts, with its weight and place: the "latest" or
            the "first". "sum" keeps the latest with the sum of the weights. Of equal times, the later row is
            the later interaction.
    """
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
        known = 0
        for row, weight in zip(rows[part].tolist(), weights[part].tolist(), strict=True):
            if row == _UNKNOWN:
                continue
            known += 1
            if repeats == "first":
                own.setdefault(row, weight)
            else:
                # Taken out first, so that the latest decides the place.
                before = own.pop(row, 0.0)
                own[row] = before + weight if repeats == "sum" else weight
        found.append(UserHistory(str(name), own, known - len(own)))
    return found


def _batches(
    stream: TableStream, weight: str | None
) -> Iterator[tuple[pd.Series, pd.Series, np.ndarray, np.ndarray]]:
    """Yield the checked (users, items, weights, times) of each batch of the file."""
    names = stream.columns
    weight = weight or (WEIGHT if WEIGHT in names else None)
    wanted = [USER, ITEM, *([weight] if weight else []), *([TIME] if TIME in names else [])]
    for batch in stream.batches(list(dict.fromkeys(wanted))):
        users, items = batch.ids(USER), batch.ids(ITEM)
        weights = _weights(batch, weight) if weight else np.ones(len(users))
        times = batch.seconds(TIME) if TIME in names else np.zeros(len(users), np.int64)
        yield users, items, weights, times


def _require_weight(stream: TableStream, weight: str) -> None:
    """Raise `InvalidInput` unless the file has the column of weights that was asked for."""
    if weight in stream.columns:
        return
    if weight in _OWN:
        stream.require_columns([weight])
    # --columns may have given the column another name.
    others = [name for name in stream.columns if name not in (USER, ITEM)]
    meant = stream.renamed.get(weight) or nearest(weight, others)
    refuse(
        stream.path,
        f"there is no column {weight!r} of weights; the columns are: {', '.join(stream.columns)}",
        next_step=f"Did you mean --weight {shlex.quote(meant)}?" if meant else "Give --weight one of them.",
        column=weight,
    )


def _weights(batch: Table, name: str) -> np.ndarray:
    numbers = batch.numbers(name)
    wrong = ~((numbers > 0.0) & np.isfinite(numbers))
    if wrong.any():
        at = first(wrong)
        batch.refuse(at, f"{name} {batch.shown(name, at)} is not a positive number")
    return numbers
