"""Each client's record of the interactions that a job trained it on. It stays in the client's private folder.

A job that starts from a champion holds out other interactions than the jobs before it, if its data are newer
or its seed is another one. By these records its clients leave out the cases that those jobs have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.evaluation.trained_pairs import among, union
from models.kernel.splitmix import Keys
from tasks.local.atomic import write_atomically

_FOLDER = "trained"
_DIGEST_BYTES = hashlib.sha256().digest_size


def note_trained(silo: Path, job_id: str, keys: Callable[[], Keys]) -> None:
    """Write what a job trains a client on, unless an earlier round did.

    Args:
        silo: the client's private folder.
        job_id: the job.
        keys: returns the keys of the interactions, from `models.evaluation.trained_pairs`.
    """
    path = silo / _FOLDER / f"{job_id}.keys"
    if path.exists():
        return
    content = np.sort(keys()).astype("<u8").tobytes()
    # Only the silo's own account may read its users.
    silo.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, hashlib.sha256(content).digest() + content, durable=False)


def seen(
    keys: Keys, silos_dir: str, jobs: tuple[str, ...], records: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """Return (n,): whether these jobs trained any client of this machine on each interaction, or may have.

    A user may belong to another client by now. If a record of a job is missing here or damaged, the job may
    have been trained on any interaction.

    Args:
        keys: (n,), of the interactions.
        silos_dir: parent of the clients' private folders.
        jobs: ids of the jobs.
        records: how many records each of the jobs must have left, at least.
    """
    known = _trained_on(silos_dir, jobs, records)
    return np.ones(len(keys), dtype=np.bool_) if known is None else among(keys, known)


@lru_cache(maxsize=2)
def _trained_on(silos_dir: str, jobs: tuple[str, ...], records: tuple[int, ...]) -> Keys | None:
    """Return the sorted keys of what these jobs trained on; None if a record is missing or damaged."""
    known = union([])
    for job_id, least in zip(jobs, records, strict=True):
        paths = sorted(Path(silos_dir).glob(f"*/{_FOLDER}/{job_id}.keys"))
        parts = [_keys_in(path) for path in paths]
        whole = [part for part in parts if part is not None]
        if len(whole) < max(1, least, len(parts)):
            return None
        # Job by job, because most of what jobs trained on is the same.
        known = union([known, *whole])
    return known


def _keys_in(path: Path) -> Keys | None:
    """Return the keys in a record; None if it cannot be read or is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    content = data[_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != data[:_DIGEST_BYTES]:
        return None
    return np.frombuffer(content, dtype="<u8").astype(np.uint64)
