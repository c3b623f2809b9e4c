"""Batch scoring: recommendations for all users of a file, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models.recommenders.scoring.recommender import Recommendation, Recommender
from tasks.datasets.repeats import Repeats
from tasks.local.atomic import replacing
from tasks.local.home import Home
from tasks.scoring.history_stream import UserHistory, histories_in, write_buckets
from tasks.scoring.recommend import recommender_of
from tasks.tables.column_names import ColumnNames
from tasks.tables.table import refuse
from tasks.tracking import registry

_ROWS_IN_A_GROUP = 100_000
_USERS_BETWEEN_NEWS = 500
_EXAMPLES = 3
_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("rank", pa.int32()),
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("score", pa.float32()),
    ]
)
Tell = Callable[[str, int, int | None], None]


def score_users(
    home: Home,
    users: Path,
    out: Path,
    k: int,
    *,
    model_name: str | None = None,
    version: str = registry.CHAMPION,
    weight: str | None = None,
    repeats: Repeats = "latest",
    names: ColumnNames | None = None,
    tell: Tell = lambda what, done, of: None,
) -> dict[str, Any]:
    """Write a Parquet file with the k best items of each user of a file, and return a summary.

    The file has one row for each recommended item: user_id, rank (from 1), item_id, title and score. The rows
    of a user are adjacent. The order of the users is undefined. The file's metadata name the version. `out`
    is replaced atomically or not at all. In the meantime the histories are in a private folder beside it.

    Args:
        home: contains the registry.
        users: CSV, TSV or Parquet with user_id, item_id and optionally weights, in any order.
        out: a name that ends in ".parquet".
        k: maximal number of items for each user.
        model_name: required only if several models are registered.
        version: a version number or an alias.
        weight: the column of weights; None for the column "weight", if there is one.
        repeats: which of a user's interactions with an item counts; "sum" adds up their weights.
        names: what the file calls user_id, item_id, timestamp and weight.
        tell: called with the progress: the activity, the amount done, and the total amount if known.

    Raises:
        NotFound: there is no such model or version, or nothing is registered or promoted yet.
        InvalidInput: the file breaks a rule, the model knows none of its items, or the output cannot be
            written.
    """
    if out.suffix.lower() != ".parquet":
        refuse(out, "the output must end in .parquet")
    client = registry.open_registry(home)
    name = registry.resolve_model_name(client, model_name)
    found = registry.load_version(client, name, version)
    recommender = recommender_of(found)
    item_rows = {item_id: row for row, item_id in enumerate(recommender.item_ids)}
    facts = {"model_name": name, "version": found.version, "model_sha256": found.sha256}
    schema = _SCHEMA.with_metadata({f"fedrec.{key}": str(value) for key, value in facts.items()})
    scored = without_history = repeated = 0
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            # Only the owner can read a folder of mkdtemp.
            tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder,
            replacing(out) as part,
            # A file, not a path: Arrow would take the path "s3:/bucket/x" for an address.
            part.open("wb") as sink,
        ):
            dealt = write_buckets(
                users, Path(folder), item_rows, weight, lambda rows: tell("interactions", rows, None), names
            )
            if dealt.unknown_interactions == dealt.interactions:
                examples = ", ".join(map(repr, recommender.item_ids[:_EXAMPLES]))
                refuse(
                    users,
                    f"version {found.version} of {name!r} knows none of its {dealt.unknown_items} items",
                    next_step=f"Write the ids as in the catalogue, such as {examples}.",
                )
            with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
                rows = _Rows(writer)
                for number, bucket in enumerate(dealt.buckets):
                    for history in histories_in(bucket, repeats):
                        rows.add(history, _best(recommender, history, k))
                        scored += 1
                        repeated += history.repeats
                        without_history += not history.weights
                        if scored % _USERS_BETWEEN_NEWS == 0:
                            tell("users", scored, None)
                    bucket.unlink()
                    tell("parts", number + 1, len(dealt.buckets))
                rows.flush()
    except OSError as error:
        refuse(out, f"the output cannot be written ({error.strerror or error})")
    return {
        **facts,
        "out": str(out),
        "users": scored,
        "users_without_known_items": without_history,
        "interactions": dealt.interactions,
        "repeats": repeated,
        "repeats_rule": repeats,
        "unknown_interactions": dealt.unknown_interactions,
        "unknown_items": dealt.unknown_items,
        "recommendations": rows.written,
        "k": k,
    }


def _best(recommender: Recommender, history: UserHistory, k: int) -> list[Recommendation]:
    return recommender.recommend(list(history.weights), k, weights=list(history.weights.values()))


class _Rows:
    """Collects rows, and writes them to the file one row group at a time."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._columns: list[list[Any]] = [[] for _ in _SCHEMA]
        self.written = 0

    def add(self, history: UserHistory, answer: list[Recommendation]) -> None:
        for one in answer:
            values = (history.user_id, one.rank, one.item_id, one.title, one.score)
            for column, value in zip(self._columns, values, strict=True):
                column.append(value)
        if len(self._columns[0]) >= _ROWS_IN_A_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the collected rows to the file."""
        if not self._columns[0]:
            return
        self._writer.write_table(
            pa.Table.from_arrays(
                [pa.array(column, field.type) for column, field in zip(self._columns, _SCHEMA, strict=True)],
                schema=self._writer.schema,
            )
        )
        self.written += len(self._columns[0])
        self._columns = [[] for _ in _SCHEMA]
