"""Reads a partition: one folder of interactions per client and a shared item catalogue.

No file's content is returned unless its SHA-256 equals that in the manifest, `partition.json`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException

from models.errors import CorruptArtifact, InvalidInput, NotFound
from models.evaluation.data_report import DataReport
from models.kernel.catalog import ItemCatalog
from models.recommenders.base.family import CatalogFeatures
from models.recommenders.items.features import ItemFeatures
from tasks.datasets.item_table import ColumnFacts, read_item_table
from tasks.local.checksums import digest_of

T = TypeVar("T")

FORMAT = 2
# Partitions of format 1 have a catalogue whose columns were not judged, see `read_item_table`.
_READABLE = (1, FORMAT)
MANIFEST = "partition.json"
ITEMS = "items.parquet"
CLIENT_ID = re.compile(r"[a-z0-9_][a-z0-9._-]{0,127}")

_REPEAT = "Make the partition again with 'fedrec data partition ... --force'."


@dataclass(frozen=True)
class ClientData:
    """The manifest's entry of one client.

    Attributes:
        id: the client's name, safe in paths.
        path: absolute path of its interactions.
        sha256: of that file.
        users, interactions: their numbers in the file.
    """

    id: str
    path: Path
    sha256: str
    users: int
    interactions: int


@dataclass(frozen=True)
class Partition:
    """An opened partition.

    Attributes:
        root: its folder, absolute.
        by: how clients were made, such as "column:occupation".
        catalog: the items that all clients share.
        items_path, items_sha256: the catalogue's file with titles and further columns.
        clients: sorted by id.
        sources: SHA-256 of each file that the partition was made from.
        columns: what was found in the columns of the items file; empty for older partitions.
        report: on the interactions; None for older partitions and for those of silos.
        digest: SHA-256 over catalogue and clients; equal data have equal digests.
    """

    root: Path
    by: str
    catalog: ItemCatalog
    items_path: Path
    items_sha256: str
    clients: tuple[ClientData, ...]
    sources: dict[str, str]
    digest: str
    columns: tuple[ColumnFacts, ...] = ()
    report: DataReport | None = None

    def client(self, client_id: str) -> ClientData:
        """Return the client of this id.

        Raises:
            NotFound: there is no such client.
        """
        try:
            return self._by_id[client_id]
        except KeyError:
            raise NotFound(
                f"The partition {self.root} has no client {client_id!r}.", client_id=client_id
            ) from None

    @cached_property
    def _by_id(self) -> dict[str, ClientData]:
        return {client.id: client for client in self.clients}


def client_file(client_id: str) -> str:
    """Return the path of a client's interactions, relative to the partition."""
    return f"clients/{client_id}/interactions.parquet"


def open_partition(path: str | Path) -> Partition:
    """Return the partition in this folder; verifies manifest and catalogue, not the clients' files.

    Raises:
        NotFound: the folder does not exist or has no manifest.
        CorruptArtifact: the manifest or the catalogue is damaged.
    """
    root = Path(path).expanduser().absolute()
    manifest = root / MANIFEST
    if not manifest.is_file():
        what = f"it has no {MANIFEST}" if root.is_dir() else "the folder does not exist"
        raise NotFound(
            f"{root} is not a partition: {what}.",
            next_step="Make one: 'fedrec data fetch ml-100k', then "
            f"'fedrec data partition --interactions FILE --by COLUMN --out {root}'.",
            path=root,
        )
    return _parsed(root, manifest)


def read_interactions(client: ClientData) -> pd.DataFrame:
    """Return a client's verified interactions in the order of their source.

    Returns:
        user_id and item_id (str), and if the source had them rating (float64) and timestamp (int64 seconds
        since 1970, UTC).

    Raises:
        CorruptArtifact: the file is missing or its bytes changed.
    """
    return _of_client(client, _interactions)


def read_interaction_table(client: ClientData) -> pa.Table:
    """Return what `read_interactions` returns, as Arrow's columns, which cost less to make for few rows.

    Raises:
        CorruptArtifact: the file is missing or its bytes changed.
    """
    return _of_client(client, _table)


def read_items(partition: Partition) -> pd.DataFrame:
    """Return the verified items in catalogue order: item_id and title (str), then numbers and labels.

    Raises:
        CorruptArtifact: the file is missing or its bytes changed.
    """
    return _items(partition.items_path, partition.items_sha256)


def item_features(partition: Partition) -> CatalogFeatures:
    """Return a function that works out the features of the partition's items, for families that want them."""
    return lambda: ItemFeatures.of(read_items(partition))


def _parsed(root: Path, manifest: Path) -> Partition:
    try:
        facts: dict[str, Any] = json.loads(manifest.read_bytes())
        if facts["format"] not in _READABLE:
            raise CorruptArtifact(
                f"{manifest} has format {facts['format']!r}, expected one of {_READABLE}.", next_step=_REPEAT
            )
        if facts["digest"] != digest_of({"catalog": facts["catalog"], "clients": facts["clients"]}):
            raise CorruptArtifact(f"{manifest} was changed: its digest does not match.", next_step=_REPEAT)
        entry = facts["catalog"]
        items_path = root / ITEMS
        items = _items(items_path, entry["sha256"])
        catalog = ItemCatalog.of(items["item_id"])
        if catalog.digest != entry["digest"] or len(catalog) != entry["items"]:
            raise CorruptArtifact(f"{items_path} lists other items than {manifest} says.", next_step=_REPEAT)
        return Partition(
            root=root,
            by=facts["by"],
            catalog=catalog,
            items_path=items_path,
            items_sha256=entry["sha256"],
            clients=tuple(_client(root, each) for each in facts["clients"]),
            sources=dict(facts["sources"]),
            digest=facts["digest"],
            columns=tuple(ColumnFacts.of_json(each) for each in entry.get("columns", ())),
            report=_report(facts.get("report")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, InvalidInput) as error:
        problem = f"{type(error).__name__}: {error}"
        raise CorruptArtifact(f"{manifest} is damaged ({problem}).", next_step=_REPEAT) from error


def _report(values: dict[str, Any] | None) -> DataReport | None:
    if values is None:
        return None
    facts: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each for name, each in values.items()
    }
    # Before there were other forms.
    if facts.pop("times_like_dates", False):
        facts["times_like"] = "dates"
    return DataReport(**facts)


def _client(root: Path, entry: dict[str, Any]) -> ClientData:
    client_id = entry["id"]
    # A manifest from another party must not make the reader open a file outside the folder.
    if not CLIENT_ID.fullmatch(client_id) or entry["path"] != client_file(client_id):
        raise ValueError(f"client {client_id!r} with path {entry['path']!r} breaks the layout")
    return ClientData(
        id=client_id,
        path=root / client_file(client_id),
        sha256=entry["sha256"],
        users=int(entry["users"]),
        interactions=int(entry["interactions"]),
    )


def _items(path: Path, sha256: str) -> pd.DataFrame:
    return _verified(path, sha256, "The item catalogue", None, read_item_table)


def _of_client(client: ClientData, read: Callable[[bytes], T]) -> T:
    return _verified(client.path, client.sha256, f"The interactions of client {client.id!r}", client.id, read)


def _interactions(data: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(data), engine="pyarrow")


def _table(data: bytes) -> pa.Table:
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def _verified(
    path: Path,
    sha256: str,
    what: str,
    client_id: str | None,
    read: Callable[[bytes], T],
) -> T:
    facts = {"path": path, "client_id": client_id}
    try:
        # Read once, so that the bytes parsed are the bytes verified.
        data = path.read_bytes()
    except OSError as error:
        raise CorruptArtifact(
            f"{what} at {path} cannot be read: {error.strerror}.", next_step=_REPEAT, **facts
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise CorruptArtifact(
            f"{what} at {path} changed: expected SHA-256 {sha256}, found {found} ({len(data)} bytes).",
            next_step=_REPEAT,
            **facts,
        )
    try:
        return read(data)
    except (ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptArtifact(
            f"{what} at {path} is not a Parquet file: {error}.", next_step=_REPEAT, **facts
        ) from error
