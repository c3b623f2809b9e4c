"""A silo's snapshots: a job trains on one fixed copy of the silo's data."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import pandas as pd
from filelock import FileLock

from models.errors import CatalogMismatch, CorruptArtifact, InvalidInput, NotFound
from models.kernel.catalog import ItemCatalog
from tasks.datasets.catalog import check_catalog
from tasks.datasets.partition import write_partition
from tasks.datasets.partition_reader import CLIENT_ID, Partition, open_partition
from tasks.datasets.source import Source, read_source
from tasks.local.folders import is_vacant
from tasks.tables.read import read_table

_LOCK = ".lock"


def take_snapshot(source: Source, catalog_items: Path, client_id: str, folder: Path) -> Partition:
    """Write the source's interactions to `folder` as a partition of one client, whole or not at all.

    An existing snapshot is returned unchanged, even if the source has changed since: a job trains on one
    state of the data. For the same rows in the same order the client's bytes equal those of
    `make_partition`, so that training on a snapshot equals training on such a partition.

    An interaction with an item outside the catalogue stays in the snapshot. The interactions contract refuses
    it later and names the rows.

    Args:
        source: the source of the silo's interactions.
        catalog_items: the coordinator's items (Parquet, CSV or TSV): item_id, and optionally title and
            further columns.
        client_id: the silo's name.
        folder: of the job's snapshot, such as `FEDREC_HOME/snapshots/<job_id>`.

    Raises:
        InvalidInput: the source breaks a rule (the message names file, row and rule).
        SourceUnavailable: the source's database cannot be reached or refuses the account.
        CatalogMismatch: the existing snapshot was taken for another client or other items.
        CorruptArtifact: the existing snapshot is damaged.
    """
    if not CLIENT_ID.fullmatch(client_id):
        raise InvalidInput(
            f"{client_id!r} is not a client id, expected {CLIENT_ID.pattern}.", client_id=client_id
        )
    catalog = check_catalog(read_table(catalog_items, ["item_id"]))
    # Only the silo's own account may read its users.
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(folder.parent / _LOCK):
        if not is_vacant(folder):
            return _existing(folder, ItemCatalog.of(catalog.items["item_id"]), client_id)
        rows = read_source(source)
        users = rows.interactions.users
        clients = pd.Series(client_id, index=users, dtype="str")
        return write_partition(
            folder, catalog, rows.interactions, clients, by="snapshot", sources=rows.sources
        )


def forget_snapshots(snapshots: Path, keep_jobs: Collection[str]) -> list[str]:
    """Delete all snapshots but those of `keep_jobs`, and what an interrupted snapshot left.

    Args:
        snapshots: the folder of all snapshots.
        keep_jobs: ids of the jobs whose snapshots stay.

    Returns:
        Ids of the jobs whose snapshots were deleted, sorted.
    """
    if not snapshots.is_dir():
        return []
    # No snapshot is being taken while the lock is held, so unfinished folders were left by a crash.
    with FileLock(snapshots / _LOCK):
        removed = [path for path in snapshots.iterdir() if path.is_dir() and path.name not in keep_jobs]
        for path in removed:
            _remove(path)
    return sorted(path.name for path in removed if not path.name.startswith("."))


def _existing(folder: Path, catalog: ItemCatalog, client_id: str) -> Partition:
    try:
        taken = open_partition(folder)
    except (CorruptArtifact, NotFound) as error:
        raise CorruptArtifact(
            f"The snapshot {folder} is damaged: {error.what}",
            next_step="Restore it from a backup, or delete the folder and start a new job.",
            path=folder,
        ) from error
    names = [client.id for client in taken.clients]
    if names != [client_id]:
        raise CatalogMismatch(f"The snapshot {folder} is of client {', '.join(names)}, not of {client_id}.")
    if taken.catalog.digest != catalog.digest:
        raise CatalogMismatch(
            f"The snapshot {folder} was taken for a catalogue with digest {taken.catalog.digest[:12]}, but "
            f"the job's has {catalog.digest[:12]}.",
            next_step="A job's catalogue never changes; start a new job.",
        )
    return taken


def _remove(folder: Path) -> None:
    # Renamed first, so that a crash in between leaves no incomplete snapshot under its name.
    gone = folder if folder.name.startswith(".") else folder.rename(folder.with_name(f".{folder.name}.gone"))
    shutil.rmtree(gone)
