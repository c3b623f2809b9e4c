"""Each client's record of the interactions that a job trained it on. It stays in the client's private folder.

A job that starts from a champion holds out other interactions than the jobs before it, if its data are newer
or its seed is another one. By these records its clients leave out the cases that those jobs have seen.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.evaluation.trained_pairs import among, union
from models.kernel.splitmix import Keys
from tasks.local.atomic import write_atomically

_FOLDER = "trained"


def note_trained(silo: Path, job_id: str, keys: Callable[[], Keys]) -> None:
    """Write what a job trains a client on, unless an earlier round did.

    Args:
        silo: the client's private folder.
        job_id: the job.
        keys: returns the keys of the interactions, from `models.evaluation.trained_pairs`.
    """
    path = silo / _FOLDER / f"{job_id}.npy"
    if path.exists():
        return
    content = io.BytesIO()
    np.save(content, np.sort(keys()))
    # Only the silo's own account may read its users.
    silo.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, content.getvalue(), durable=False)


def seen(keys: Keys, silos_dir: str, jobs: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Return (n,): whether these jobs trained any client of this machine on each interaction, or may have.

    A user may belong to another client by now. If a job has left no record here, or a damaged one, it may
    have been trained on any interaction.

    Args:
        keys: (n,), of the interactions.
        silos_dir: parent of the clients' private folders.
        jobs: ids of the jobs.
    """
    known = _trained_on(silos_dir, jobs)
    return np.ones(len(keys), dtype=np.bool_) if known is None else among(keys, known)


@lru_cache(maxsize=2)
def _trained_on(silos_dir: str, jobs: tuple[str, ...]) -> Keys | None:
    """Return the sorted keys of what these jobs trained on; None if the record of a job is missing."""
    known = union([])
    for job_id in jobs:
        paths = sorted(Path(silos_dir).glob(f"*/{_FOLDER}/{job_id}.npy"))
        try:
            parts = [np.load(path, allow_pickle=False) for path in paths]
        except (OSError, ValueError, EOFError):
            return None
        if not parts:
            return None
        # Job by job, because most of what jobs trained on is the same.
        known = union([known, *parts])
    return known
