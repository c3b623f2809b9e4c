"""A silo's users in the form that its serving process reads: mapped arrays that never leave the silo."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import CorruptArtifact
from tasks.local.checksums import sha256_of
from tasks.local.folders import build_folder
from tasks.local.packed_strings import open_strings, write_strings

FORMAT = 1
MANIFEST = "users.json"


@dataclass(frozen=True)
class LocalUser:
    """One user of the silo.

    Attributes:
        history: rows of the items that the user has used, oldest first.
        vector: (dims,) float64, the trained embedding; None if the user has none.
    """

    history: list[int]
    vector: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class LocalUsers:
    """All users of the silo.

    Attributes:
        rows: user id -> row.
        embeddings: (users, dims) float32; zeros for a user without one, (users, 0) if nobody has one.
        is_trained: (users,) whether a user has one.
        starts, items: user u's history is items[starts[u] : starts[u + 1]].
    """

    rows: Mapping[str, int]
    embeddings: npt.NDArray[np.float32]
    is_trained: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]

    def find(self, user_id: str) -> LocalUser | None:
        """Return the user with this id, or None."""
        row = self.rows.get(user_id)
        if row is None:
            return None
        history = self.items[self.starts[row] : self.starts[row + 1]].tolist()
        vector = self.embeddings[row].astype(np.float64) if self.is_trained[row] else None
        return LocalUser(history, vector)


def write_users(target: Path, users: LocalUsers) -> str:
    """Write the users, readable only by this account, and return the SHA-256 of their manifest.

    Raises:
        InvalidInput: the folder cannot be created.
    """
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with build_folder(target) as folder:
        folder.chmod(0o700)
        write_strings(folder, "user_ids", users.rows)
        for name in ("embeddings", "is_trained", "starts", "items"):
            np.save(folder / f"{name}.npy", getattr(users, name), allow_pickle=False)
        files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
        data = json.dumps({"format": FORMAT, "files": files}, sort_keys=True).encode()
        (folder / MANIFEST).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def open_users(folder: Path, manifest_sha256: str, shape: tuple[int, int]) -> LocalUsers:
    """Open the users in a folder, and verify every byte.

    Args:
        folder: the folder that `write_users` wrote.
        manifest_sha256: the return value of `write_users`.
        shape: (items, dims) of their model.

    Raises:
        CorruptArtifact: a file is missing or changed, or does not fit the model.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
        if hashlib.sha256(data).hexdigest() != manifest_sha256:
            raise ValueError(f"{MANIFEST} differs from the one that was published")
        manifest = json.loads(data)
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}, expected {FORMAT}")
        for name, promised in manifest["files"].items():
            if sha256_of(folder / name) != promised:
                raise ValueError(f"{name} was changed")
        ids = open_strings(folder, "user_ids")
        # Plain arrays over the mappings: numpy's own class for them makes every operation slower.
        embeddings, is_trained, starts, items = (
            np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
            for name in ("embeddings", "is_trained", "starts", "items")
        )
        fits = (
            embeddings.shape in ((len(ids), shape[1]), (len(ids), 0))
            and bool(embeddings.shape[1] or not is_trained.any())
            and is_trained.shape == (len(ids),)
            and starts.shape == (len(ids) + 1,)
            and bool((items >= 0).all() and (items < shape[0]).all())
            and bool(np.isfinite(embeddings).all())
        )
        if not fits:
            raise ValueError(f"its arrays do not fit a model of {shape[0]} items and {shape[1]} dims")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CorruptArtifact(f"The local users in {folder} cannot be opened: {error}.") from error
    rows = {user_id: row for row, user_id in enumerate(ids)}
    return LocalUsers(rows, embeddings, is_trained, starts, items)
