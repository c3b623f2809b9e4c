"""A silo's snapshots: the one state of its data that a job trains on."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import pandas as pd
from filelock import FileLock

from models.errors import CatalogMismatch, CorruptArtifact, InvalidInput, NotFound
from models.kernel.catalog import ItemCatalog
from tasks.datasets.interaction_tables import check_catalog
from tasks.datasets.partition import write_partition
from tasks.datasets.partition_reader import CLIENT_ID, Partition, open_partition
from tasks.datasets.source import Source, read_source
from tasks.datasets.tables import read_table
from tasks.local.folders import is_vacant

_LOCK = ".lock"


def take_snapshot(source: Source, catalog_items: Path, client_id: str, folder: Path) -> Partition:
    """`folder` holds the source's interactions as a partition of one client, whole or not at all.

    A snapshot that is there already is returned untouched, whatever the source holds by now: a job trains on
    one state of the data. The client's bytes are those that `make_partition` gives it for the same rows in
    the same order, so that training on a snapshot equals training on such a partition.

    An interaction with an item that the catalogue lacks stays in; it is the interactions contract that
    refuses it, and that names the rows.

    Args:
        source: where the silo's interactions lie.
        catalog_items: the coordinator's items (Parquet, CSV or TSV): item_id, perhaps title and more.
        client_id: the silo's name.
        folder: of the job's snapshot, such as `FEDREC_HOME/snapshots/<job_id>`.

    Raises:
        InvalidInput: the source breaks a rule (the message names file, row and rule).
        SourceUnavailable: the source's database cannot be reached or refuses the account.
        CatalogMismatch: the snapshot that is there was taken for another client or other items.
        CorruptArtifact: the snapshot that is there is damaged.
    """
    if not CLIENT_ID.fullmatch(client_id):
        raise InvalidInput(
            f"{client_id!r} is no client id, expected {CLIENT_ID.pattern}.", client_id=client_id
        )
    catalog = check_catalog(read_table(catalog_items))
    # Nobody but the silo's own account reads its users.
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(folder.parent / _LOCK):
        if not is_vacant(folder):
            return _existing(folder, ItemCatalog.of(catalog["item_id"]), client_id)
        rows = read_source(source)
        users = rows.interactions.users
        clients = pd.Series(client_id, index=users, dtype="str")
        return write_partition(
            folder, catalog, rows.interactions, clients, by="snapshot", sources=rows.sources
        )


def forget_snapshot(folder: Path) -> None:
    """Nothing is left of the snapshot in `folder`, so that the next one is of the data as they are then."""
    if folder.parent.is_dir():
        with FileLock(folder.parent / _LOCK):
            _remove(folder)


def forget_snapshots(snapshots: Path, keep_jobs: Collection[str]) -> list[str]:
    """Only the snapshots of these jobs are left, and nothing of one that a crash interrupted.

    Args:
        snapshots: the folder of all snapshots.
        keep_jobs: ids of the jobs whose snapshots stay.

    Returns:
        Ids of the jobs whose snapshots are gone, sorted.
    """
    if not snapshots.is_dir():
        return []
    # Nobody is taking a snapshot while the lock is held, so what looks unfinished was left by a crash.
    with FileLock(snapshots / _LOCK):
        gone = [path for path in snapshots.iterdir() if path.is_dir() and path.name not in keep_jobs]
        for path in gone:
            _remove(path)
    return sorted(path.name for path in gone if not path.name.startswith("."))


def _existing(folder: Path, catalog: ItemCatalog, client_id: str) -> Partition:
    try:
        taken = open_partition(folder)
    except (CorruptArtifact, NotFound) as error:
        raise CorruptArtifact(
            f"The snapshot {folder} is damaged: {error.what}",
            next_step="Put it back from a copy, or delete the folder and start a new job.",
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
    if not folder.exists():
        return
    # Renamed first: a crash in the middle leaves no half of a snapshot under its name.
    gone = folder if folder.name.startswith(".") else folder.rename(folder.with_name(f".{folder.name}.gone"))
    shutil.rmtree(gone)
