"""Writes a silo's users beside a published version, so that the silo can serve them by user id."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.errors import CatalogMismatch, NotFound
from tasks.bundles.users_bundle import LocalUsers, write_users
from tasks.clients.client_data import UserStates
from tasks.clients.client_rows import client_rows
from tasks.datasets.partition_reader import Partition, open_partition
from tasks.local.home import Home
from tasks.publishing.silo_users import Origin


def lay_out_users(home: Home, silo: str, data: Path | None, target: Path, origin: Origin) -> str:
    """Write a silo's users for one version to `target`, and return the SHA-256 of their manifest.

    A user's history comes from the snapshot that the version's job trained on. A user's embedding is that of
    the version's round. A silo keeps only the newest embeddings, so the nearest round is used if that one is
    gone. Everything is read from the silo's own folders, and stays there.

    Args:
        home: the silo's home.
        silo: the silo's name.
        data: a partition with the silo's interactions; None for the snapshot of the job.
        target: the folder to write.
        origin: the training that made the version.

    Raises:
        NotFound: there is neither a snapshot nor another partition.
        CatalogMismatch: the item rows of the interactions are from another catalogue than the version's.
        CorruptArtifact: snapshot or embeddings are damaged.
    """
    partition = open_partition(data or _snapshot(home, silo, origin.job_id))
    return write_users(target, _gathered(home, silo, partition, origin))


def _snapshot(home: Home, silo: str, job_id: str) -> Path:
    folder = home.root / "snapshots" / job_id
    if not folder.is_dir():
        raise NotFound(
            f"Silo {silo!r} has no snapshot of job {job_id!r}, which made the champion: {folder}.",
            next_step="Name a partition with its interactions: --data FOLDER.",
        )
    return folder


def _gathered(home: Home, silo: str, partition: Partition, origin: Origin) -> LocalUsers:
    if partition.catalog.digest != origin.catalog_digest:
        raise CatalogMismatch(
            f"The interactions in {partition.root} are with items of catalogue "
            f"{partition.catalog.digest[:12]}, but the champion's catalogue is {origin.catalog_digest[:12]}."
        )
    user_ids, users, items, times, _ = client_rows(partition, silo)
    rows = {user_id: row for row, user_id in enumerate(user_ids)}
    # Oldest first; without times, in the order of the file.
    order = np.lexsort((np.arange(len(users)) if times is None else times, users))
    starts = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(user_ids)))])
    embeddings, is_trained = _embeddings(home, silo, rows, origin)
    return LocalUsers(rows, embeddings, is_trained, starts.astype(np.int64), items[order].astype(np.int32))


def _embeddings(
    home: Home, silo: str, rows: Mapping[str, int], origin: Origin
) -> tuple[np.ndarray, np.ndarray]:
    """Return (users, dims) the embeddings, and (users,) whether each user has one."""
    states = UserStates(home.silos / silo, origin.job_id)
    nearest = states.nearest(origin.round)
    if nearest is None or states.folded_in(nearest):
        # The silo took no part in that job, or the job serves all users from their histories.
        return np.zeros((len(rows), 0), np.float32), np.zeros(len(rows), np.bool_)
    state, trained_ids = states.read(nearest)
    pairs = [(rows[user_id], row) for row, user_id in enumerate(trained_ids) if user_id in rows]
    here, there = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    embeddings = np.zeros((len(rows), state.embeddings.shape[1]), dtype=np.float32)
    embeddings[here] = state.embeddings[there]
    is_trained = np.zeros(len(rows), dtype=np.bool_)
    is_trained[here] = True
    return embeddings, is_trained
