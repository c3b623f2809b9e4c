"""The journal of a job: its committed rounds on disk, written so that it stays readable after any crash.

A round is committed by one exclusive creation of its record, after everything it names is stored. An
interrupted job continues from the newest record. Evaluation and tracking follow the commit. They are derived
from it and noted in a second file, so that they can be repeated. Only the process that holds the job's
lease may write. It stops writing when it loses the lease (`tasks/jobs/lease.py`).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from models.errors import CorruptArtifact, JobBusy
from models.kernel.json_values import read_json
from tasks.jobs import lease
from tasks.local.atomic import create_exclusively, sync_folder, write_atomically
from tasks.messages.job_opening import JobOpening
from tasks.messages.job_result import JobResult
from tasks.messages.late_update import LateUpdate
from tasks.messages.orders import StartingPoint
from tasks.messages.record import Record
from tasks.messages.round_record import RoundRecord, TrackedRound

R = TypeVar("R", bound=Record)

_ROUND = "{:06d}.json"
_UNASKED = "unasked"
# The folder, beside the jobs, of jobs that are about to be opened.
_DRAFTS = ".drafts"
_NEXT_STEP = "Restore it from a backup, or start a new job."


def fingerprint(*parts: object) -> str:
    """Return the SHA-256 of JSON values. Equal configurations on equal data have equal fingerprints."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Journal:
    """The folder of one job.

    Attributes:
        folder: absolute path. Its name is the job's id.
        lease: lease of the process that works on the job; None for a reader.
    """

    folder: Path
    lease: lease.Lease | None = field(default=None, compare=False)

    @property
    def job_id(self) -> str:
        """Return the job's id."""
        return self.folder.name

    @property
    def token(self) -> int:
        """Return the lease's token, which increases with every holder; 0 for a reader."""
        return self.lease.token if self.lease else 0

    def guarded(self) -> contextlib.AbstractContextManager[None]:
        """Prevent other processes from taking the job over while the block runs. Every write does the same.

        Raises:
            LeaseLost: another process has taken the job over.
        """
        return self.lease.guarded() if self.lease else contextlib.nullcontext()

    @functools.cached_property
    def opening(self) -> JobOpening:
        """Return the record of the job's opening, which never changes."""
        return _read(self.folder / "job.json", JobOpening.of_json)

    def result(self) -> JobResult | None:
        """Return the job's result; None while it is unfinished."""
        return _read_if_there(self.folder / "result.json", JobResult.of_json)

    def conclude(self, result: JobResult) -> None:
        """Write the job's result. A stopped job can continue later and write its result again."""
        with self.guarded():
            write_atomically(self.folder / "result.json", _json(result))

    def commit(self, record: RoundRecord) -> None:
        """Commit a round.

        Raises:
            JobBusy: the round is already committed, so another coordinator works on this job.
            LeaseLost: another process has taken the job over.
        """
        try:
            with self.guarded():
                create_exclusively(self._round(record.round), _json(record))
        except FileExistsError as error:
            raise JobBusy(
                f"Round {record.round} of job {self.job_id} was committed by another coordinator.",
                next_step="Let the other coordinator finish. This one stops and changes nothing.",
                job_id=self.job_id,
            ) from error

    def committed(self) -> list[RoundRecord]:
        """Return the records of all committed rounds, from round 0 on.

        Raises:
            CorruptArtifact: a record is damaged, or one in between is missing.
        """
        paths = sorted((self.folder / "rounds").glob("[0-9]*.json"))
        for round_, path in enumerate(paths):
            if path != self._round(round_):
                raise CorruptArtifact(f"Job {self.job_id} has {path.name} but no record of round {round_}.")
        return [_read(path, RoundRecord.of_json) for path in paths]

    def note_unasked(self) -> None:
        """Note, when the job is made, that no client was asked for anything that its noise pays for."""
        create_exclusively(self.folder / _UNASKED, b"")

    def note_asked(self) -> None:
        """Remove the note of `note_unasked`, before clients are asked. A power cut does not bring it back."""
        with self.guarded():
            if self.is_unasked:
                (self.folder / _UNASKED).unlink()
                sync_folder(self.folder)

    @property
    def is_unasked(self) -> bool:
        """Return whether it is sure that no client was asked; a job of an earlier version is not sure."""
        return (self.folder / _UNASKED).exists()

    def note_tracked(self, round_: int, note: TrackedRound) -> None:
        """Note that a committed round is evaluated and tracked. Its message may be deleted afterwards."""
        with self.guarded():
            write_atomically(self.folder / "tracked" / _ROUND.format(round_), _json(note))

    def tracked(self, round_: int) -> TrackedRound | None:
        """Return the note of `note_tracked`; None if the round is not tracked yet."""
        return _read_if_there(self.folder / "tracked" / _ROUND.format(round_), TrackedRound.of_json)

    def note_late(self, late: LateUpdate) -> None:
        """Note that a client's update of a committed round came too late."""
        with self.guarded():
            write_atomically(self._late(late.round, late.client_id), _json(late), durable=False)

    def is_noted_late(self, round_: int, client_id: str) -> bool:
        """Return whether a client's update of this round is noted as late."""
        return self._late(round_, client_id).exists()

    def late(self) -> list[LateUpdate]:
        """Return all noted late updates, sorted by round and client."""
        return [_read(path, LateUpdate.of_json) for path in sorted((self.folder / "late").glob("*.json"))]

    def add_outcome(self, subject: str, contract: str, text: str) -> None:
        """Store the JSON of a contract's outcome for the Data Docs at the end of the job."""
        path = self.folder / "contracts" / f"{subject}.{contract}.json"
        with self.guarded():
            write_atomically(path, text.encode(), durable=False)

    def outcomes(self) -> Iterator[str]:
        """Yield all stored outcomes, sorted by subject."""
        for path in sorted((self.folder / "contracts").glob("*.json")):
            yield path.read_text()

    def starting_points(
        self, client_ids: Iterable[str], rounds: Sequence[RoundRecord]
    ) -> dict[str, StartingPoint]:
        """Return each client's user embeddings for the newest round: of the last round that accepted it.

        Args:
            client_ids: the clients.
            rounds: records as returned by `committed`.
        """
        found: dict[str, StartingPoint] = {}
        missing = set(client_ids)
        for record in reversed(rounds):
            if not missing:
                break
            newest = missing.intersection(record.accepted)
            missing -= newest
            # Rounds that were taken over were trained in the job that the record names.
            found |= dict.fromkeys(newest, StartingPoint(record.job_id, record.round))
        for client_id in missing:
            earlier = self.opening.starting_points.get(client_id)
            found[client_id] = (
                StartingPoint(None, 0)
                if earlier is None
                else StartingPoint(earlier.job_id, earlier.round, exact=False)
            )
        return found

    def _late(self, round_: int, client_id: str) -> Path:
        return self.folder / "late" / f"{round_:06d}.{client_id}.json"

    def _round(self, round_: int) -> Path:
        return self.folder / "rounds" / _ROUND.format(round_)


# Writes what a new job takes over from an earlier one to the new job's folder, or charges its account, before
# the job exists, and returns the job's opening. No other process opens a job meanwhile.
TakeOver = Callable[[Journal, JobOpening], JobOpening]
# Returns whether a job of this id was known elsewhere, so that no new job may have the id.
IsUsed = Callable[[str], bool]


@contextlib.contextmanager
def held(
    jobs: Path,
    name: str,
    key: str,
    opening: JobOpening,
    lease_s: float = lease.DEFAULT_S,
    take_over: TakeOver | None = None,
    is_used: IsUsed = lambda _: False,
) -> Iterator[Journal]:
    """Hold the journal of the unfinished job with this key, or of a new job, for this process alone.

    Args:
        jobs: the folder of all jobs.
        name: name of the configuration, the first part of the job's id.
        key: fingerprint of configuration and data. Only a job with the same key is continued.
        opening: the opening of a new job.
        lease_s: seconds without a beat after which this process may take the job over from another.
        take_over: called for a new job. None to train all rounds in the job itself: then an unfinished job
            that has taken over rounds is not continued either.
        is_used: returns whether a new job may not have an id, although no folder has it.

    Raises:
        JobBusy: another process is working on the job.
    """
    jobs.mkdir(parents=True, exist_ok=True)
    journal, taken = _taken(jobs, _prefix(name, key), opening, lease_s, take_over, is_used)
    try:
        yield replace(journal, lease=taken)
    finally:
        taken.release()


@contextlib.contextmanager
def held_alone(journal: Journal) -> Iterator[Journal]:
    """Hold the journal of an existing job, finished or not, for this process alone.

    Raises:
        JobBusy: another process works on the job.
    """
    taken = lease.take(journal.folder)
    try:
        yield replace(journal, lease=taken)
    finally:
        taken.release()


def finished(jobs: Path, name: str, key: str) -> JobResult | None:
    """Return the result of the newest job of this configuration and data if it is finished.

    Args:
        jobs, name, key: as for `held`.
    """
    journals = _journals(jobs, _prefix(name, key))
    return journals[-1].result() if journals and _is_over(journals[-1]) else None


def round_subject(round_: int) -> str:
    """Return the subject under which the outcomes of a round's contracts are stored, sorted by round."""
    return f"round-{round_:06d}"


def _prefix(name: str, key: str) -> str:
    return f"{name}-{key[:8]}"


def _taken(
    jobs: Path,
    prefix: str,
    opening: JobOpening,
    lease_s: float,
    take_over: TakeOver | None,
    is_used: IsUsed,
) -> tuple[Journal, lease.Lease]:
    """Return an unfinished job and its lease."""
    with FileLock(jobs / ".lock"):
        journal = _unfinished(jobs, prefix)
        if journal is None or (take_over is None and journal.opening.continued):
            journal = _opened(jobs, prefix, opening, take_over, is_used)
    taken = lease.take(journal.folder, lease_s)
    if _is_over(journal):
        # Its holder finished it while this process waited for a beat.
        taken.release()
        return _taken(jobs, prefix, opening, lease_s, take_over, is_used)
    return journal, taken


def _unfinished(jobs: Path, prefix: str) -> Journal | None:
    journals = _journals(jobs, prefix)
    if not journals:
        return None
    return None if _is_over(journals[-1]) else journals[-1]


def _is_over(journal: Journal) -> bool:
    result = journal.result()
    return result is not None and result.status != "stopped"


def _opened(
    jobs: Path, prefix: str, opening: JobOpening, take_over: TakeOver | None, is_used: IsUsed
) -> Journal:
    # Numbers only increase, even if older jobs were deleted, so the newest job of a key is the last one.
    number = max((_number(journal) for journal in _journals(jobs, prefix)), default=0) + 1
    while (jobs / f"{prefix}-{number}").exists() or is_used(f"{prefix}-{number}"):
        number += 1  # the remains of a damaged job, or an account's entry about a deleted one
    journal = Journal(jobs / f"{prefix}-{number}")
    if take_over is None:
        create_exclusively(journal.folder / "job.json", _json(opening))
        return journal
    draft = Journal(jobs / _DRAFTS / journal.job_id)
    shutil.rmtree(draft.folder, ignore_errors=True)  # left by a crash
    create_exclusively(draft.folder / "job.json", _json(take_over(draft, opening)))
    # In one step: before it there is no job, and after it the job has all that it takes over.
    draft.folder.rename(journal.folder)
    sync_folder(jobs)
    with contextlib.suppress(OSError):  # another one is in it
        draft.folder.parent.rmdir()
    return journal


def _journals(jobs: Path, prefix: str) -> list[Journal]:
    found = [Journal(path.parent) for path in jobs.glob(f"{prefix}-*/job.json")]
    # A manual copy beside a job, such as `...-1-old`, is not a job.
    return sorted((each for each in found if each.job_id.removeprefix(f"{prefix}-").isdecimal()), key=_number)


def _number(journal: Journal) -> int:
    return int(journal.job_id.rpartition("-")[2])


def _json(record: Record) -> bytes:
    return json.dumps(record.to_json(), indent=1, sort_keys=True, allow_nan=False).encode()


def _read_if_there(path: Path, of_json: Callable[[object, str, str], R]) -> R | None:
    return _read(path, of_json) if path.exists() else None


def _read(path: Path, of_json: Callable[[object, str, str], R]) -> R:
    try:
        value = read_json(path.read_bytes())
    except ValueError as error:
        raise CorruptArtifact(f"{path} is damaged: {error}.", next_step=_NEXT_STEP) from error
    return of_json(value, str(path), _NEXT_STEP)
