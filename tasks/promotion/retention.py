"""Removes the versions and models of old rounds from MLflow, but no present or past champion's."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.promotion.champions import Champion, all_champions, pending
from tasks.jobs.journal import Journal
from tasks.local.atomic import write_atomically
from tasks.local.home import Home
from tasks.promotion import ledger
from tasks.promotion.versions import existence
from tasks.tracking import registry
from tasks.tracking.registered_round import round_folder
from tasks.tracking.removal import artifacts_of_run, delete_folder, delete_version

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Of a job's folder. It holds the rounds that were removed, so that the next night need not look for them.
_NOTE = "removed_rounds.json"


@dataclass(frozen=True)
class OldRound:
    """A round whose version may be removed.

    Attributes:
        model_name, version: its version in the registry.
        round: its number.
    """

    model_name: str
    version: int
    round: int


def remove_old_rounds(
    home: Home, client: MlflowClient, journals: Iterable[Journal], keep: int, *, dry_run: bool = False
) -> dict[str, list[int]]:
    """Remove the versions of finished jobs' old rounds with their artefacts, and return job -> its rounds.

    Each job keeps its newest rounds and its best one. A round also stays if its version is or ever was
    champion, because the ledger names it as evidence, and while it has an alias or is decided about. Of a
    removed round MLflow keeps the metrics and the clients' table, and the job's journal keeps its record.

    Args:
        home: contains the jobs and the ledger.
        client: the registry.
        journals: of finished jobs.
        keep: number of the newest rounds that each job keeps, at least 1.
        dry_run: whether to return what would be removed, and remove nothing.

    Raises:
        LedgerTampered: the ledger is not valid, so that it does not tell which versions were champions.
    """
    removed: dict[str, list[int]] = {}
    # No decision is made in between.
    with ledger.locked(home):
        kept = _kept(home, client)
        for journal in journals:
            rounds = [each for each in _old_rounds(client, journal, keep) if _key(each) not in kept]
            if rounds and not dry_run:
                _remove(client, journal, rounds)
            if rounds:
                removed[journal.job_id] = [each.round for each in rounds]
    return removed


def _kept(home: Home, client: MlflowClient) -> Collection[tuple[str, int]]:
    """Return (model name, version) of champions, of versions that are decided about, and of all aliases."""
    entries = ledger.read_verified(home, client).entries
    kept = registry.all_aliases(client)
    for name in {entry.body["model_name"] for entry in entries}:
        kept |= {(name, each.version) for each in all_champions(entries, name)}
        interrupted = pending(entries, name)
        if interrupted is not None:
            kept.add((name, interrupted.body["candidate"]))
    return kept


def _key(old: OldRound) -> tuple[str, int]:
    return old.model_name, old.version


def _old_rounds(client: MlflowClient, journal: Journal, keep: int) -> Iterator[OldRound]:
    """Yield the rounds before the newest `keep` that MLflow has and that no earlier call removed.

    The best round stays, because the job names it as the one to promote.
    """
    # A round that was taken over belongs to the job that trained it.
    records = [each for each in journal.committed()[1:] if each.job_id == journal.job_id]
    result = journal.result()
    best = result.best_round if result else None
    staying = _removed_before(journal) | ({best.round} if best else set())
    for record in records[: max(0, len(records) - keep)]:
        note = None if record.round in staying else journal.tracked(record.round)
        if note is not None and note.version is not None:
            yield OldRound(journal.opening.model_name, note.version, record.round)


def _remove(client: MlflowClient, journal: Journal, rounds: Iterable[OldRound]) -> None:
    """Remove the versions of these rounds and their folders, and note that."""
    result = journal.result()
    artifacts = artifacts_of_run(client, result.run_id) if result and result.run_id else None
    done = _removed_before(journal)
    for old in rounds:
        made = Champion(old.version, journal.job_id, old.round)
        # The number can belong to another version by now, if the model was deleted and made again.
        if existence(client, old.model_name)(made):
            delete_version(client, old.model_name, old.version)
        if artifacts is not None:
            delete_folder(client, artifacts, round_folder(old.round))
        done.add(old.round)
    write_atomically(journal.folder / _NOTE, json.dumps(sorted(done)).encode())


def _removed_before(journal: Journal) -> set[int]:
    path = journal.folder / _NOTE
    return set(json.loads(path.read_bytes())) if path.exists() else set()
