"""Old rounds leave MLflow, and what is, was or may become champion stays with its evidence."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from models.errors import LedgerTampered, NotFound
from tasks.jobs.journal import Journal, held
from tasks.messages.round_record import START_TRACKED, TrackedRound
from tasks.promotion import ledger
from tasks.promotion import promote as promotion
from tasks.promotion.retention import remove_old_rounds
from tasks.tracking import registry
from tests.worlds.decisions import decision
from tests.worlds.records import job_result, opening, round_record, round_result
from tests.worlds.registered import World


@dataclass
class Finished:
    """A finished job of rounds 1 to 8, which are versions 1 to 8, and its world."""

    world: World
    journal: Journal

    def remove(self, keep: int, *, dry_run: bool = False) -> list[int]:
        removed = remove_old_rounds(self.world.home, self.world.client, [self.journal], keep, dry_run=dry_run)
        assert removed.keys() <= {self.journal.job_id}
        return removed.get(self.journal.job_id, [])

    def left(self) -> list[int]:
        """Return the versions that exist and load, after checking that the others left no artefact."""
        found = []
        for version in range(1, 9):
            if registry.find_tags(self.world.client, "movies", version) is None:
                assert not self.world.folders[version].exists()
            else:
                found.append(registry.load_version(self.world.client, "movies", version).version)
        return found


def tracked(version: int | None) -> TrackedRound:
    return TrackedRound(version=version, metrics={}, evaluation=None, seconds={})


@pytest.fixture
def finished(world, evaluated) -> Finished:
    opened = opening(config={"name": "films", "model_name": "movies", "train": {"family": "lightfm"}})
    with held(world.home.jobs, "films", "k" * 64, opened) as journal:
        world.job_id = journal.job_id
        journal.commit(round_record(0, job_id=journal.job_id))
        journal.note_tracked(0, START_TRACKED)
        for round_ in range(1, 9):
            version = world.register(round_, evaluated(0.3))
            journal.commit(round_record(round_, job_id=journal.job_id))
            journal.note_tracked(round_, tracked(version))
        journal.conclude(job_result(job_id=journal.job_id, run_id=world.run_id))
    return Finished(world, Journal(journal.folder))


def promote(world: World, version: int, **parts) -> None:
    made = decision(version, **parts)
    evidence = {**made.evidence, "job_id": world.job_id}
    promotion.record(world.home, world.client, type(made)(**vars(made) | {"evidence": evidence}))


def test_only_the_newest_rounds_stay(finished):
    assert finished.remove(3) == [1, 2, 3, 4, 5]
    assert finished.left() == [6, 7, 8]
    # The journal keeps all rounds, and the next night has nothing to do.
    assert len(finished.journal.committed()) == 9
    assert finished.remove(3) == []
    assert finished.remove(2) == [6]


def test_the_best_round_stays_because_it_is_the_one_to_promote(finished):
    rounds = tuple(
        round_result(number, metrics={"validation/ndcg@10": 0.5 if number == 2 else 0.25})
        for number in range(1, 9)
    )
    result = finished.journal.result()
    finished.journal.conclude(result.with_rounds(rounds))
    assert finished.remove(3) == [1, 3, 4, 5]
    assert finished.left() == [2, 6, 7, 8]


def test_a_dry_run_changes_nothing(finished):
    assert finished.remove(2, dry_run=True) == [1, 2, 3, 4, 5, 6]
    assert finished.left() == list(range(1, 9))
    assert finished.remove(8, dry_run=True) == finished.remove(9, dry_run=True) == []


def test_champions_present_and_past_stay_also_after_a_rollback_from_them(finished):
    for version in (1, 3, 5):
        promote(finished.world, version)

    assert finished.remove(1) == [2, 4, 6, 7]
    assert finished.left() == [1, 3, 5, 8]
    promote(finished.world, 3, kind="rollback")
    # No rollback leads to version 5 any more, but the ledger says that it served.
    assert finished.remove(1) == []
    assert finished.left() == [1, 3, 5, 8]
    assert promotion.settle(finished.world.home, finished.world.client, "movies").before == 1


def test_versions_with_any_alias_stay(finished):
    finished.world.client.set_registered_model_alias("movies", "challenger", "2")
    finished.world.client.set_registered_model_alias("movies", "paper", "4")

    assert finished.remove(1) == [1, 3, 5, 6, 7]
    assert finished.left() == [2, 4, 8]


def test_a_version_stays_while_the_decision_about_it_is_interrupted(finished):
    made = decision(2)
    body = made.body() | {"evidence": {**made.evidence, "job_id": finished.world.job_id}}
    ledger.append(finished.world.home, finished.world.client, body)

    assert 2 not in finished.remove(1)
    assert promotion.settle(finished.world.home, finished.world.client, "movies").champion == 2


def test_a_round_that_mlflow_does_not_have_yet_stays(finished):
    finished.journal.note_tracked(2, tracked(None))

    assert finished.remove(6) == [1]


def test_a_later_version_of_the_same_number_is_not_removed(finished, evaluated):
    world = finished.world
    world.client.delete_registered_model("movies")
    registry.ensure_registered_model(world.client, "movies")
    world.job_id, older = "job-b", world.folders
    world.artifacts = world.artifacts / "again"
    (world.artifacts / "catalog").mkdir(parents=True)
    world.folders = {}
    assert world.register(1, evaluated(0.3)) == 1

    assert finished.remove(6) == [1, 2]
    assert registry.tags_of(world.client, "movies", 1)["fedrec.job"] == "job-b"
    # The artefacts of the old ones are gone nevertheless.
    assert [version for version, folder in older.items() if folder.exists()] == list(range(3, 9))


def test_rounds_of_a_run_that_is_gone_are_forgotten(finished):
    finished.journal.conclude(job_result(job_id=finished.journal.job_id, run_id="0" * 32))

    assert finished.remove(7) == [1]
    with pytest.raises(NotFound):
        registry.tags_of(finished.world.client, "movies", 1)


def test_nothing_is_removed_while_the_ledger_is_not_valid(finished):
    promote(finished.world, 1)
    finished.world.home.ledger.write_bytes(b"{}\n" + finished.world.home.ledger.read_bytes())

    with pytest.raises(LedgerTampered):
        finished.remove(1)
    assert finished.left() == list(range(1, 9))
