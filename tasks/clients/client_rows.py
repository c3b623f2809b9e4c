"""A client's interactions, read from its partition."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from models.errors import CorruptArtifact
from models.evaluation.trained_pairs import item_keys
from models.kernel.splitmix import Keys
from tasks.datasets.partition_reader import Partition, open_partition, read_interaction_table


@lru_cache(maxsize=4)
def catalog_keys(data_dir: str, digest: str) -> Keys:
    """Return the key of each item of a partition's catalogue, (items,)."""
    return item_keys(opened_partition(data_dir, digest).catalog.ids)


# With many small clients, reading catalogue and manifest for each would cost more than reading their data.
@lru_cache(maxsize=4)
def opened_partition(data_dir: str, digest: str) -> Partition:
    """Return the partition in this folder, opened once per process.

    Raises:
        CorruptArtifact: it is damaged, or its digest is another one.
    """
    partition = open_partition(data_dir)
    if partition.digest != digest:
        raise CorruptArtifact(
            f"The partition {data_dir} has digest {partition.digest[:12]}, but the job was opened with "
            f"{digest[:12]}.",
            next_step="Start a new job on the new data, or put the old data back.",
        )
    return partition


class ClientRows(NamedTuple):
    """A client's interactions.

    Attributes:
        user_ids: ids of the users, sorted; the position of an id is its user's row.
        users, items: (n,), user and item rows.
        times: (n,), seconds since 1970; None without timestamps.
        ratings: (n,); None without ratings.
    """

    user_ids: tuple[str, ...]
    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None
    ratings: np.ndarray | None


def client_rows(partition: Partition, client_id: str) -> ClientRows:
    """Return a client's interactions in the order of the source.

    Raises:
        CorruptArtifact: the file is missing or its bytes changed.
        CatalogMismatch: an interaction is with an item that the catalogue does not have.
    """
    table = read_interaction_table(partition.client(client_id))
    ids, places = _encoded(table, "user_id")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    rows = np.empty(len(ids), dtype=np.int32)
    rows[order] = np.arange(len(ids), dtype=np.int32)
    item_ids, item_places = _encoded(table, "item_id")

    def column(name: str, dtype: type[np.generic]) -> np.ndarray | None:
        if name not in table.column_names:
            return None
        return np.asarray(table.column(name).to_numpy()).astype(dtype)

    return ClientRows(
        tuple(ids[place] for place in order),
        rows[places],
        partition.catalog.rows_of(item_ids)[item_places],
        column("timestamp", np.int64),
        column("rating", np.float64),
    )


def _encoded(table: pa.Table, name: str) -> tuple[list[str], np.ndarray]:
    """Return the different texts of a column, and for each row the place of its text among them."""
    encoded = table.column(name).combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
