"""Silos that answer after their deadline: their updates are noted when a job next looks, and never merged."""

from __future__ import annotations

import contextlib
from typing import Any

from flows.jobs.job import Job
from flows.terminal.progress import announce
from models.errors import FedrecError
from tasks.coordinator.late_updates import late_update
from tasks.coordinator.trust_store import TrustStore


def note_late_updates(job: Job, *, everywhere: bool = False) -> None:
    """What came by now of the rounds that went on without a silo stands in the job's journal.

    Args:
        job: whose silos.
        everywhere: look at all its rounds, and not only at the newest that each silo missed.
    """
    if job.config.runner.kind != "silos":
        return
    noted = {(each["round"], each["client_id"]) for each in job.journal.late()}
    for silo, rounds in _missed(job).items():
        for round_ in rounds if everywhere else rounds[-1:]:
            found = None if (round_, silo) in noted else _found(job, silo, round_)
            if found:
                job.journal.note_late(found)
                announce(f"Silo {silo}, round {round_}: {found['reason']}.")


def _missed(job: Job) -> dict[str, list[int]]:
    """Silo -> the committed rounds that did not wait for it any longer."""
    missed: dict[str, list[int]] = {}
    for manifest in job.rounds:
        for rejected in manifest["rejected"]:
            if rejected["stage"] == "deadline":
                missed.setdefault(rejected["client_id"], []).append(manifest["round"])
    return missed


def _found(job: Job, silo: str, round_: int) -> dict[str, Any] | None:
    # A silo that is not trusted any more, or a part of the exchange that cannot be read, has nothing to tell.
    with contextlib.suppress(FedrecError, OSError):
        public = TrustStore(job.home).key_of(silo)
        return late_update(job.context.exchange, public, silo, job.rounds[round_])
    return None
