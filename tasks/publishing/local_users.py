"""A silo's own users beside a published version, so that the silo can answer them by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.errors import CatalogMismatch, NotFound
from tasks.bundles.users_bundle import MANIFEST, LocalUsers, write_users
from tasks.clients.client_data import UserStates, client_rows
from tasks.datasets.partition_reader import Partition, open_partition
from tasks.local.checksums import sha256_of
from tasks.local.home import Home


def lay_out_users(home: Home, silo: str, data: Path | None, target: Path, tags: Mapping[str, str]) -> str:
    """Write a silo's users to `target` as they belong to a version; return the SHA-256 of its manifest.

    Users come with the history of the snapshot that the version's job trained on, and with the embeddings
    that the silo has of that job: of the version's own round if the silo still has them, or of the nearest
    round. A silo keeps the newest ones only. Everything is read from the silo's own folders, and stays there.

    Args:
        home: the silo's.
        silo: its name.
        data: a partition that holds the silo's interactions; None for the snapshot of the job.
        target: where to.
        tags: of the version, in the registry.

    Raises:
        NotFound: there is neither a snapshot nor another partition.
        CatalogMismatch: the interactions number items in another way than the version.
        CorruptArtifact: snapshot or embeddings are damaged.
    """
    if (target / MANIFEST).is_file():
        return sha256_of(target / MANIFEST)
    partition = open_partition(data or _snapshot(home, silo, tags["fedrec.job"]))
    return write_users(target, _gathered(home, silo, partition, tags))


def _snapshot(home: Home, silo: str, job_id: str) -> Path:
    folder = home.root / "snapshots" / job_id
    if not folder.is_dir():
        raise NotFound(
            f"Silo {silo!r} has no snapshot of job {job_id!r}, which made the champion: {folder}.",
            next_step="Name a partition with its interactions: --data FOLDER.",
        )
    return folder


def _gathered(home: Home, silo: str, partition: Partition, tags: Mapping[str, str]) -> LocalUsers:
    if partition.catalog.digest != tags["fedrec.catalog"]:
        raise CatalogMismatch(
            f"The interactions in {partition.root} are with the items of catalogue "
            f"{partition.catalog.digest[:12]}, but the champion knows those of {tags['fedrec.catalog'][:12]}."
        )
    user_ids, users, items, times, _ = client_rows(partition, silo)
    rows = {user_id: row for row, user_id in enumerate(user_ids)}
    # Oldest first; without times, in the order of the file.
    order = np.lexsort((np.arange(len(users)) if times is None else times, users))
    starts = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(user_ids)))])
    embeddings, is_trained = _embeddings(home, silo, rows, tags)
    return LocalUsers(rows, embeddings, is_trained, starts.astype(np.int64), items[order].astype(np.int32))


def _embeddings(
    home: Home, silo: str, rows: Mapping[str, int], tags: Mapping[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (users, dims) and (users,): the embeddings, and which users have one."""
    states = UserStates(home.silos / silo, tags["fedrec.job"])
    nearest = states.nearest(int(tags["fedrec.round"]))
    if nearest is None or states.folded_in(nearest):
        # It never took part in that job, or the job answers all users by their histories.
        return np.zeros((len(rows), 0), np.float32), np.zeros(len(rows), np.bool_)
    state, trained_ids = states.read(nearest)
    pairs = [(rows[user_id], row) for row, user_id in enumerate(trained_ids) if user_id in rows]
    here, there = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    embeddings = np.zeros((len(rows), state.embeddings.shape[1]), dtype=np.float32)
    embeddings[here] = state.embeddings[there]
    is_trained = np.zeros(len(rows), dtype=np.bool_)
    is_trained[here] = True
    return embeddings, is_trained
