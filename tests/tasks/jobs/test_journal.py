"""The journal: rounds are committed once, and an interrupted job continues from the newest commit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import CorruptArtifact, JobBusy, LeaseLost
from tasks.exchange.store import ArtifactRef
from tasks.jobs.journal import Journal, fingerprint, held
from tasks.messages.job_opening import Continued, EarlierState, JobOpening
from tasks.messages.orders import StartingPoint
from tasks.messages.round_record import START_TRACKED, RoundRecord
from tests.worlds.records import job_result, late_update, opening, round_record

OPENING = opening(starting_points={"ash": EarlierState("old-1", 12)})


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


def opened(jobs: Path, *records: RoundRecord, key: str = "k" * 64) -> Journal:
    """Return a job's journal with these rounds, no longer held."""
    with held(jobs, "films", key, OPENING) as journal:
        for each in records:
            journal.commit(each)
    return Journal(journal.folder)


def test_a_new_job_is_named_after_configuration_key_and_number(jobs):
    journal = opened(jobs, key="0123456789abcdef")
    assert journal.job_id == "films-01234567-1"
    assert journal.opening == OPENING
    assert (journal.committed(), journal.result(), list(journal.outcomes())) == ([], None, [])


def test_a_round_is_committed_once_and_by_one_process(jobs):
    journal = opened(jobs, round_record(0))
    with pytest.raises(JobBusy, match="Round 0 of job films-kkkkkkkk-1 was committed by another") as caught:
        journal.commit(round_record(0, "birch"))
    assert caught.value.job_id == journal.job_id
    assert journal.committed() == [round_record(0)]


def test_rounds_are_read_back_in_order(jobs):
    rounds = [round_record(round_) for round_ in range(12)]
    assert opened(jobs, *rounds).committed() == rounds


def test_a_missing_record_between_others_is_noticed(jobs):
    journal = opened(jobs, *(round_record(round_) for round_ in range(4)))
    (journal.folder / "rounds" / "000002.json").unlink()
    with pytest.raises(CorruptArtifact, match=r"has 000003\.json but no record of round 2"):
        journal.committed()


@pytest.mark.parametrize("damage", [b"", b'{"round": 0', b"\xff\xfe", b"null and more"])
@pytest.mark.parametrize("name", ["job.json", "result.json", "rounds/000000.json", "tracked/000000.json"])
def test_a_damaged_record_is_refused_with_its_name(jobs, name, damage):
    journal = opened(jobs, round_record(0))
    journal.conclude(job_result())
    journal.note_tracked(0, START_TRACKED)
    readers = {
        "job.json": lambda: Journal(journal.folder).opening,
        "result.json": journal.result,
        "rounds/000000.json": journal.committed,
        "tracked/000000.json": lambda: journal.tracked(0),
    }
    readers[name]()
    (journal.folder / name).write_bytes(damage)
    with pytest.raises(CorruptArtifact, match="is damaged") as caught:
        readers[name]()
    assert str(journal.folder / name) in str(caught.value)


def test_an_unfinished_job_is_continued_and_a_finished_one_is_not(jobs):
    first = opened(jobs, round_record(0))
    assert opened(jobs) == first
    first.conclude(job_result(status="stopped"))
    assert opened(jobs, round_record(1)) == first
    first.conclude(job_result())
    second = opened(jobs)
    assert second.job_id == "films-kkkkkkkk-2"
    assert (second.committed(), second.result()) == ([], None)
    assert first.result() == job_result()
    assert opened(jobs) == second


def test_a_new_job_has_all_that_it_takes_over_or_does_not_exist(jobs):
    continued = Continued("films-short-1", 1)

    def take_over(draft: Journal, opening: JobOpening) -> JobOpening:
        draft.commit(round_record(0))
        assert not list(jobs.glob("films-*"))
        draft.commit(round_record(1))
        return replace(opening, continued=continued)

    def dies(draft: Journal, opening: JobOpening) -> JobOpening:
        draft.commit(round_record(0, "a leftover"))
        raise RuntimeError("no power")

    with pytest.raises(RuntimeError), held(jobs, "films", "k" * 64, OPENING, take_over=dies):
        pass
    assert not list(jobs.glob("films-*"))
    with held(jobs, "films", "k" * 64, OPENING, take_over=take_over) as journal:
        assert journal.job_id == "films-kkkkkkkk-1"
        assert journal.committed() == [round_record(0), round_record(1)]
        assert journal.opening == replace(OPENING, continued=continued)
    # It is continued as any other, without taking over anything again.
    with held(jobs, "films", "k" * 64, OPENING, take_over=dies) as again:
        assert again == journal
    # A job that trains all rounds is another one.
    assert opened(jobs).job_id == "films-kkkkkkkk-2"
    assert opened(jobs).job_id == "films-kkkkkkkk-2"


def test_the_remains_of_a_damaged_job_are_left_alone(jobs):
    journal = opened(jobs, round_record(0))
    (journal.folder / "job.json").unlink()
    assert opened(jobs).job_id == "films-kkkkkkkk-2"
    assert journal.committed() == [round_record(0)]


def test_jobs_of_other_keys_do_not_mix(jobs):
    one, other = opened(jobs, round_record(0)), opened(jobs, key="other-key")
    assert (one.job_id, other.job_id) == ("films-kkkkkkkk-1", "films-other-ke-1")
    assert other.committed() == []


def test_numbers_are_sorted_as_numbers_and_continue_after_deleted_jobs(jobs):
    for number in range(1, 12):
        journal = opened(jobs)
        assert journal.job_id == f"films-kkkkkkkk-{number}"
        journal.conclude(job_result())
    for number in (1, 5):
        (jobs / f"films-kkkkkkkk-{number}" / "result.json").unlink()
        (jobs / f"films-kkkkkkkk-{number}" / "job.json").unlink()
    assert opened(jobs).job_id == "films-kkkkkkkk-12"


def test_a_copy_beside_a_job_is_not_a_job(jobs):
    journal = opened(jobs)
    copy = jobs / f"{journal.job_id}-old"
    copy.mkdir()
    (copy / "job.json").write_text("{}")
    assert opened(jobs) == journal


def test_a_job_is_held_by_one_process_at_a_time(jobs):
    with held(jobs, "films", "k" * 64, OPENING) as journal:
        with (
            pytest.raises(JobBusy, match="works on job") as caught,
            held(jobs, "films", "k" * 64, OPENING),
        ):
            pass
        assert caught.value.job_id == journal.job_id
        # A job of another key is free meanwhile.
        assert opened(jobs, key="other").job_id == "films-other-1"
    assert opened(jobs) == journal


def test_a_job_is_held_against_other_processes_and_freed_by_their_death(jobs):
    code = (
        "import sys, os; from pathlib import Path; from tasks.jobs.journal import held\n"
        "from tests.worlds.records import opening\n"
        f"with held(Path({str(jobs)!r}), 'films', {'k' * 64!r}, opening()) as journal:\n"
        "    print(journal.job_id, flush=True); sys.stdin.read(); os._exit(9)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == b"films-kkkkkkkk-1\n"
        with pytest.raises(JobBusy):
            opened(jobs)
    finally:
        other.stdin.close()
        other.wait(timeout=30)
        other.stdout.close()
    assert opened(jobs).job_id == "films-kkkkkkkk-1"


def test_an_overtaken_process_writes_nothing(jobs):
    with held(jobs, "films", "k" * 64, OPENING) as journal:
        journal.commit(round_record(0))
        # As the file of a later holder, which this process could not have noticed while it was paused.
        (journal.folder / "lease" / f"{journal.token + 1:06d}.lock").touch()
        for write in (
            lambda: journal.commit(round_record(1)),
            lambda: journal.note_tracked(0, START_TRACKED),
            lambda: journal.add_outcome("ash", "interactions", "{}"),
            lambda: journal.conclude(job_result()),
        ):
            with pytest.raises(LeaseLost, match="was taken over"):
                write()
    assert Journal(journal.folder).committed() == [round_record(0)]
    assert (journal.tracked(0), list(journal.outcomes()), journal.result()) == (None, [], None)


def test_a_job_is_released_when_its_work_fails(jobs):
    with pytest.raises(RuntimeError), held(jobs, "films", "k" * 64, OPENING):
        raise RuntimeError("no power")
    assert opened(jobs).job_id == "films-kkkkkkkk-1"


def test_a_client_starts_from_the_last_round_that_accepted_it(jobs):
    own = "films-kkkkkkkk-1"
    records = [round_record(0), round_record(1, "ash", "birch"), round_record(2, "birch")]
    journal = opened(jobs, *(replace(each, job_id=own) for each in records))
    rounds = journal.committed()
    # Cedar never trained.
    assert journal.starting_points(["cedar", "birch", "ash"], rounds) == {
        "birch": StartingPoint(own, 2),
        "ash": StartingPoint(own, 1),
        "cedar": StartingPoint(None, 0),
    }
    assert journal.starting_points(["birch"], rounds[:2]) == {"birch": StartingPoint(own, 1)}
    # Before its first round ash continues the previous job.
    assert journal.starting_points(["ash"], rounds[:1]) == {"ash": StartingPoint("old-1", 12, exact=False)}
    # A round that was taken over was trained in another job.
    taken = [replace(each, job_id="films-short-1") for each in rounds]
    assert journal.starting_points(["birch"], taken) == {"birch": StartingPoint("films-short-1", 2)}


def test_what_follows_a_commit_is_recorded_beside_it(jobs):
    journal = opened(jobs, round_record(0))
    assert journal.tracked(0) is None
    third, fourth = (replace(START_TRACKED, version=version) for version in (3, 4))
    journal.note_tracked(0, third)
    journal.note_tracked(0, fourth)
    assert journal.tracked(0) == fourth
    for subject in ("birch", "ash"):
        journal.add_outcome(subject, "interactions", f'"{subject}"')
    assert list(journal.outcomes()) == ['"ash"', '"birch"']


def test_a_record_names_its_model():
    assert round_record(3).model == ArtifactRef("films-1/models/3", "f" * 64, 10)


def test_fingerprints_depend_on_values_and_not_on_their_order():
    assert fingerprint({"a": 1, "b": 2}, "x") == fingerprint({"b": 2, "a": 1}, "x")
    others = [({"a": 1, "b": 3}, "x"), ({"a": 1, "b": 2}, "y"), ({"a": 1, "b": 2}, "x", None)]
    assert fingerprint({"a": 1, "b": 2}, "x") not in {fingerprint(*other) for other in others}


def test_late_updates_are_read_back_by_round_and_client(jobs):
    records = [late_update(*each) for each in ((2, "ash"), (2, "cedar"), (11, "ash"))]
    journal = opened(jobs, round_record(0))
    assert journal.late() == []
    for record in reversed(records):
        journal.note_late(record)
    assert journal.late() == records
    # They are stored beside the rounds, which stay as they were committed.
    assert journal.committed() == [round_record(0)]
