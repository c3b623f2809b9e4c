"""Deletes the files of finished jobs that are no longer needed.

A job's journal is kept forever: it is small, it numbers the jobs, and auditors read it. MLflow has copies of
every tracked model and of the report.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection
from typing import TYPE_CHECKING

from models.errors import CorruptArtifact
from tasks.exchange.layout import model_steps_folder, silo_job_folder
from tasks.exchange.store import Exchange
from tasks.jobs.journal import Journal
from tasks.local.home import Home
from tasks.tracking import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient


def finished_jobs(home: Home) -> tuple[list[Journal], list[str]]:
    """Return the journals of all finished jobs, the oldest first, and the faults of the damaged ones.

    A stopped job is not finished.
    """
    finished, faults = [], []
    for path in sorted(home.jobs.glob("*/result.json")):
        journal = Journal(path.parent)
        try:
            result = journal.result()
            if result and result.status == "finished":
                journal.committed()
                finished.append((journal.opening.opened_at, journal.job_id, journal))
        except (CorruptArtifact, OSError) as error:
            faults.append(str(error))
    return [journal for _, _, journal in sorted(finished, key=lambda each: each[:2])], faults


def models_at_work(home: Home) -> set[str]:
    """Return the SHA-256 of the models from which unfinished jobs go on, also those of other jobs."""
    found = set()
    for path in home.jobs.glob("*/job.json"):
        journal = Journal(path.parent)
        with contextlib.suppress(CorruptArtifact, OSError):
            result = journal.result()
            if result is None or result.status != "finished":
                found |= {each.model_sha256 for each in journal.committed()[-1:]}
    return found


def serving_models(client: MlflowClient) -> set[str]:
    """Return the SHA-256 of all models that an alias names, such as the champion and the previous one."""
    found = (registry.find_tags(client, *version) for version in registry.all_aliases(client))
    return {tags["fedrec.sha256"] for tags in found if tags and "fedrec.sha256" in tags}


def clear_exchange(exchange: Exchange, journal: Journal, keep: Collection[str]) -> int:
    """Delete a finished job's superseded models from the exchange; return the number deleted.

    The sums from which silos made them are deleted, too.

    The job's last model, models that MLflow does not have yet, and the model from which a longer job would
    continue are kept, and models that another job trained.

    Args:
        exchange: the exchange of the job.
        journal: of the job.
        keep: SHA-256 of further models to keep.
    """
    removed = 0
    *superseded, last = journal.committed()
    staying = {*keep, last.model_sha256}
    for record in superseded:
        model = record.model
        if record.round == journal.opening.shared_rounds or record.job_id != journal.job_id:
            continue
        if model.sha256 in staying or journal.tracked(record.round) is None:
            continue
        # Reading shows whether the model still exists. It is read only once, because it is then deleted.
        with contextlib.suppress(CorruptArtifact):
            exchange.get(model)
            removed += 1
        exchange.remove(model.path)
    exchange.remove(model_steps_folder(journal.job_id))
    return removed


def clear_silo_parts(home: Home, journals: Collection[Journal], keep: int) -> list[str]:
    """Delete what silos behind the gateway sent in old jobs; return the ids of these jobs.

    The gateway wrote it for them. Silos with workers of Prefect clean up their own parts.

    Args:
        home: of the coordinator.
        journals: of finished jobs, oldest first.
        keep: number of jobs whose answers stay.
    """
    cleared = []
    for journal in list(journals)[: max(0, len(journals) - keep)]:
        opening = journal.opening
        silos = opening.setting("runner.silos")
        if opening.setting("runner.kind") != "gateway" or not isinstance(silos, list):
            continue
        exchange = Exchange(opening.exchange_url or home.exchange.as_uri())
        folders = [silo_job_folder(str(silo), journal.job_id) for silo in silos]
        removed = [exchange.remove(each) for each in folders]
        if any(removed):
            cleared.append(journal.job_id)
    return cleared


def prune_reports(journals: Collection[Journal], keep: int) -> list[str]:
    """Delete the reports of all but the newest `keep` jobs; return the ids of the other jobs.

    Args:
        journals: of finished jobs, oldest first.
        keep: number of jobs that keep their report.
    """
    pruned = []
    for journal in list(journals)[: max(0, len(journals) - keep)]:
        report = journal.folder / "report"
        if report.exists():
            shutil.rmtree(report)
            pruned.append(journal.job_id)
    return pruned
