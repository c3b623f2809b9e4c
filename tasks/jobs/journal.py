"""The journal of a job: what is committed, on disk, in an order that any crash leaves readable.

A round is committed by one exclusive creation of its manifest, after everything it names is stored. The
newest manifest is the point from which an interrupted job goes on. What follows a commit (evaluation,
tracking) is derived from it and noted in a second file, so that it can be repeated. Whoever works on the job
holds its lease, and writes nothing once that is lost (`tasks/jobs/lease.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from models.errors import CorruptArtifact, JobBusy
from tasks.exchange.store import ArtifactRef
from tasks.jobs import lease
from tasks.local.atomic import create_exclusively, write_atomically
from tasks.messages.orders import StartingPoint

_ROUND = "{:06d}.json"


def fingerprint(*parts: Any) -> str:
    """SHA-256 over JSON values: equal configurations on equal data have equal fingerprints."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Journal:
    """One job's folder.

    Attributes:
        folder: absolute path; its name is the job's id.
        lease: of the process that works on the job; None for a reader.
    """

    folder: Path
    lease: lease.Lease | None = field(default=None, compare=False)

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.folder.name

    @property
    def token(self) -> int:
        """The lease's token, which grows with every process that works on the job; 0 for a reader."""
        return self.lease.token if self.lease else 0

    def guarded(self) -> contextlib.AbstractContextManager[None]:
        """While the block runs the job is this process's; it holds for everything that the journal writes.

        Raises:
            LeaseLost: another process has taken the job over.
        """
        return self.lease.guarded() if self.lease else contextlib.nullcontext()

    @property
    def opening(self) -> dict[str, Any]:
        """What the job was opened with; never changes."""
        return _read(self.folder / "job.json")

    def result(self) -> dict[str, Any] | None:
        """The job's result; None while it is unfinished."""
        path = self.folder / "result.json"
        return _read(path) if path.exists() else None

    def conclude(self, result: Mapping[str, Any]) -> None:
        """The job has this result; one that was stopped can still go on and conclude again."""
        with self.guarded():
            write_atomically(self.folder / "result.json", _json(result))

    def commit(self, manifest: Mapping[str, Any]) -> None:
        """The round of `manifest` is committed.

        Raises:
            JobBusy: it is committed already, so another coordinator works on this job.
            LeaseLost: another has taken it over.
        """
        try:
            with self.guarded():
                create_exclusively(self._round(manifest["round"]), _json(manifest))
        except FileExistsError as error:
            raise JobBusy(
                f"Round {manifest['round']} of job {self.job_id} was committed by another coordinator.",
                next_step="Let the other one finish; this one stops here and changes nothing.",
                job_id=self.job_id,
            ) from error

    def committed(self) -> list[dict[str, Any]]:
        """The manifests of all committed rounds, from round 0 on.

        Raises:
            CorruptArtifact: a manifest is damaged or missing between others.
        """
        paths = sorted((self.folder / "rounds").glob("[0-9]*.json"))
        for round_, path in enumerate(paths):
            if path != self._round(round_):
                raise CorruptArtifact(f"Job {self.job_id} has {path.name} but no manifest of round {round_}.")
        return [_read(path) for path in paths]

    def note_tracked(self, round_: int, record: Mapping[str, Any]) -> None:
        """Evaluation and tracking of a committed round are done, with this record."""
        with self.guarded():
            write_atomically(self.folder / "tracked" / _ROUND.format(round_), _json(record), durable=False)

    def tracked(self, round_: int) -> dict[str, Any] | None:
        """The record of `note_tracked`; None where the round is not tracked yet."""
        path = self.folder / "tracked" / _ROUND.format(round_)
        return _read(path) if path.exists() else None

    def note_late(self, record: Mapping[str, Any]) -> None:
        """A client's update of a committed round came too late; the record names `round` and `client_id`."""
        name = f"{record['round']:06d}.{record['client_id']}.json"
        with self.guarded():
            write_atomically(self.folder / "late" / name, _json(record), durable=False)

    def late(self) -> list[dict[str, Any]]:
        """All records of `note_late`, by round and client."""
        return [_read(path) for path in sorted((self.folder / "late").glob("*.json"))]

    def add_outcome(self, subject: str, contract: str, text: str) -> None:
        """The JSON of a contract's outcome is kept, for Data Docs at the end of the job."""
        path = self.folder / "contracts" / f"{subject}.{contract}.json"
        with self.guarded():
            write_atomically(path, text.encode(), durable=False)

    def outcomes(self) -> list[str]:
        """All kept outcomes, in order of their subjects."""
        return [path.read_text() for path in sorted((self.folder / "contracts").glob("*.json"))]

    def starting_point(self, client_id: str, rounds: list[dict[str, Any]]) -> StartingPoint:
        """The user embeddings that go with the newest of `rounds`: of the last round that took the client in.

        Args:
            client_id: whose.
            rounds: manifests as `committed` gives them.
        """
        for manifest in reversed(rounds):
            if client_id in manifest["accepted"]:
                return StartingPoint(self.job_id, manifest["round"])
        start: dict[str, Any] | None = self.opening["starting_points"].get(client_id)
        return (
            StartingPoint(start["job_id"], start["round"], exact=False) if start else StartingPoint(None, 0)
        )

    def _round(self, round_: int) -> Path:
        return self.folder / "rounds" / _ROUND.format(round_)


@contextlib.contextmanager
def held(
    jobs: Path, name: str, key: str, opening: Mapping[str, Any], lease_s: float = lease.DEFAULT_S
) -> Iterator[Journal]:
    """The journal of an unfinished job with this key, or of a new one, for this process alone.

    Args:
        jobs: the folder of all jobs.
        name: of the configuration; the first part of the job's id.
        key: fingerprint of configuration and data; only a job with the same key is continued.
        opening: what a new job is opened with.
        lease_s: seconds without a sign of life after which another process loses the job to this one.

    Raises:
        JobBusy: another process is working on the job.
    """
    jobs.mkdir(parents=True, exist_ok=True)
    journal, taken = _taken(jobs, f"{name}-{key[:8]}", opening, lease_s)
    try:
        yield replace(journal, lease=taken)
    finally:
        taken.release()


def _taken(
    jobs: Path, prefix: str, opening: Mapping[str, Any], lease_s: float
) -> tuple[Journal, lease.Lease]:
    """An unfinished job and its lease."""
    with FileLock(jobs / ".lock"):
        journal = _unfinished(jobs, prefix) or _opened(jobs, prefix, opening)
    taken = lease.take(journal.folder, lease_s)
    if _is_over(journal):
        # Its holder finished it while we waited to see whether it still lives.
        taken.release()
        return _taken(jobs, prefix, opening, lease_s)
    return journal, taken


def artifact_of(manifest: Mapping[str, Any]) -> ArtifactRef:
    """Where the model of a committed round lies."""
    return ArtifactRef(manifest["model_path"], manifest["model_sha256"], manifest["model_bytes"])


def _unfinished(jobs: Path, prefix: str) -> Journal | None:
    journals = _journals(jobs, prefix)
    if not journals:
        return None
    return None if _is_over(journals[-1]) else journals[-1]


def _is_over(journal: Journal) -> bool:
    result = journal.result()
    return result is not None and result["status"] != "stopped"


def _opened(jobs: Path, prefix: str, opening: Mapping[str, Any]) -> Journal:
    # Numbers go up, also where older jobs were deleted, so the newest job of a key is the last one.
    number = max((_number(journal) for journal in _journals(jobs, prefix)), default=0) + 1
    journal = Journal(jobs / f"{prefix}-{number}")
    create_exclusively(journal.folder / "job.json", _json(opening))
    return journal


def _journals(jobs: Path, prefix: str) -> list[Journal]:
    found = [Journal(path.parent) for path in jobs.glob(f"{prefix}-*/job.json")]
    # A copy that someone made beside a job, such as `...-1-old`, is no job.
    return sorted((each for each in found if each.job_id.removeprefix(f"{prefix}-").isdecimal()), key=_number)


def _number(journal: Journal) -> int:
    return int(journal.job_id.rpartition("-")[2])


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode()


def _read(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptArtifact(
            f"{path} is damaged: {error}.", next_step="Restore it from a backup, or start a new job."
        ) from error
    return value
