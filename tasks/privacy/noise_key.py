"""The secret key from which a client draws its noise.

With it a repeated round sends the same bytes. With another key, a client would draw other noise for a round
that it sent before, and both together tell more than the job reserved. So a client writes down a digest of
its key for each job, before anything with noise leaves it, and has no other key for that job. Whoever reads
the key can take the noise off what the client sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from pathlib import Path

from models.errors import CorruptArtifact, EgressRefused, InvalidInput
from models.secure_sum.primitives.keys import KEY_BYTES
from tasks.local.atomic import create_for_owner_only, kept_first

_NAME = "noise.key"
_OTHERS = 0o077
_PURPOSE = b"fedrec noise key of a job: "


def noise_key(folder: Path, job_id: str) -> bytes:
    """Return the key (32 bytes) in a client's private folder, the same for all of a job.

    The first call makes it. The first call of a job writes down its digest.

    Raises:
        EgressRefused: the key is not the one of the job's first call.
        InvalidInput: others than its owner can access the file.
        CorruptArtifact: the file does not contain a key.
    """
    path, pin = folder / _NAME, folder / "promises" / f"{job_id}.key.sha256"
    # Asked before the key, which is made before it: another process may make both in the meantime.
    is_pinned = pin.exists()
    if not path.exists():
        if is_pinned:
            raise _other_key(path, job_id, "is missing")
        # Another process may make it in the meantime, and then that one counts.
        with contextlib.suppress(FileExistsError):
            create_for_owner_only(path, secrets.token_bytes(KEY_BYTES))
    mode = path.stat().st_mode & 0o777
    if mode & _OTHERS:
        raise InvalidInput(
            f"The key of a client's noise {path} has mode {mode:04o}: others than its owner can access it.",
            next_step=f"Run chmod 600 {path}. Who has read it can take the noise off the client's updates.",
            path=path,
            mode=mode,
        )
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise CorruptArtifact(
            f"The key of a client's noise {path} has {len(key)} bytes, expected {KEY_BYTES}.",
            next_step="Restore it from a backup. With another key a continued job would spend more privacy "
            "than it reserved, so remove it for new jobs only.",
            path=path,
        )
    digest = hashlib.sha256(_PURPOSE + key).hexdigest().encode()
    if kept_first(pin, digest) != digest:
        raise _other_key(path, job_id, "has changed")
    return key


def _other_key(path: Path, job_id: str, fault: str) -> EgressRefused:
    return EgressRefused(
        f"The key of a client's noise {path} {fault} since the first answer to job {job_id}. With another "
        "key the client would draw its noise again, and both draws tell more than the job reserved.",
        next_step="Restore the file from a backup. Without it, the client takes part from the next job on.",
        path=path,
        job_id=job_id,
    )
