"""Records updates of silos that answer after their deadline. They are never merged."""

from __future__ import annotations

import contextlib

from flows.jobs.job import Job
from flows.terminal.progress import announce
from models.errors import FedrecError
from tasks.coordinator.late_updates import late_update
from tasks.coordinator.trust_store import TrustStore
from tasks.messages.late_update import LateUpdate


def note_late_updates(job: Job, *, everywhere: bool = False) -> None:
    """Note in the job's journal the updates that have come after their round was committed.

    Args:
        job: the job.
        everywhere: whether to check all its rounds, and not only the newest that each silo missed.
    """
    if not job.config.runner.has_silos:
        return
    for silo, rounds in _missed(job).items():
        for round_ in rounds if everywhere else rounds[-1:]:
            found = None if job.journal.is_noted_late(round_, silo) else _found(job, silo, round_)
            if found:
                job.journal.note_late(found)
                announce(f"Silo {silo}, round {round_}: {found.reason}.")


def _missed(job: Job) -> dict[str, list[int]]:
    """Return silo -> the committed rounds whose deadline it missed."""
    missed: dict[str, list[int]] = {}
    for record in job.rounds:
        for rejected in record.rejected:
            if rejected.stage == "deadline":
                missed.setdefault(rejected.client_id, []).append(record.round)
    return missed


def _found(job: Job, silo: str, round_: int) -> LateUpdate | None:
    # There is no late update if the silo is no longer trusted or its part of the exchange cannot be read.
    with contextlib.suppress(FedrecError, OSError):
        public = TrustStore(job.home).key_of(silo)
        return late_update(job.context.exchange, public, silo, job.rounds[round_])
    return None
