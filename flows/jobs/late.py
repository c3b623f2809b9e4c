"""Silos that answer after their deadline: a job notes their updates and never merges them."""

from __future__ import annotations

import contextlib

from flows.jobs.job import Job
from flows.terminal.progress import announce
from models.errors import FedrecError
from tasks.coordinator.late_updates import late_update
from tasks.coordinator.trust_store import TrustStore
from tasks.messages.late_update import LateUpdate


def note_late_updates(job: Job, *, everywhere: bool = False) -> None:
    """Note in the job's journal what came by now of the rounds that went on without a silo.

    Args:
        job: whose silos.
        everywhere: look at all its rounds, and not only at the newest that each silo missed.
    """
    if job.config.runner.kind != "silos":
        return
    noted = {(each.round, each.client_id) for each in job.journal.late()}
    for silo, rounds in _missed(job).items():
        for round_ in rounds if everywhere else rounds[-1:]:
            found = None if (round_, silo) in noted else _found(job, silo, round_)
            if found:
                job.journal.note_late(found)
                announce(f"Silo {silo}, round {round_}: {found.reason}.")


def _missed(job: Job) -> dict[str, list[int]]:
    """Return by silo the committed rounds that did not wait for it any longer."""
    missed: dict[str, list[int]] = {}
    for record in job.rounds:
        for rejected in record.rejected:
            if rejected.stage == "deadline":
                missed.setdefault(rejected.client_id, []).append(record.round)
    return missed


def _found(job: Job, silo: str, round_: int) -> LateUpdate | None:
    # A silo that is not trusted any more, or a part of the exchange that cannot be read, has no late update.
    with contextlib.suppress(FedrecError, OSError):
        public = TrustStore(job.home).key_of(silo)
        return late_update(job.context.exchange, public, silo, job.rounds[round_])
    return None
