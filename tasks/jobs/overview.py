"""What the jobs of a home are doing, from their journals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from models.errors import CorruptArtifact
from tasks.jobs import lease
from tasks.jobs.journal import Journal
from tasks.jobs.outbox import outbox_of
from tasks.local.home import Home

State = Literal["running", "finished", "stopped", "interrupted", "damaged"]


@dataclass(frozen=True)
class JobState:
    """A job and how far it is.

    Attributes:
        job_id: of the job.
        state: running while a process holds its lease; interrupted if its process is gone.
        round, rounds: the newest committed round, and the number of all rounds; 0 if damaged.
        opened_at: when it was opened, as ISO 8601 in UTC; empty if damaged.
        waiting: number of its records that MLflow does not have.
    """

    job_id: str
    state: State
    round: int
    rounds: int
    opened_at: str
    waiting: int

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return asdict(self)


def job_states(home: Home, newest: int) -> list[JobState]:
    """Return the states of the newest jobs, the newest first."""
    opened = [(path.stat().st_mtime, path.parent.name) for path in home.jobs.glob("*/job.json")]
    return [_state_of(Journal(home.jobs / name)) for _, name in sorted(opened, reverse=True)[:newest]]


def _state_of(journal: Journal) -> JobState:
    try:
        opening, result = journal.opening, journal.result()
        rounds = opening.rounds
        done = max(0, len([*(journal.folder / "rounds").glob("[0-9]*.json")]) - 1)
        waiting = len(outbox_of(journal).all())
    except CorruptArtifact:
        return JobState(journal.job_id, "damaged", 0, 0, "", 0)
    return JobState(journal.job_id, _word(journal, result), done, rounds, opening.opened_at, waiting)


def _word(journal: Journal, result: Any) -> State:
    # A finished job's lease may be held by a process that sends what waits.
    if result is not None and result.status != "stopped":
        return "finished"
    with lease.left_behind(journal.folder) as is_left:
        if not is_left:
            return "running"
    return "interrupted" if result is None else "stopped"
