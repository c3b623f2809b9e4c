"""The journal: rounds are committed once, and an interrupted job continues from the newest commit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import CorruptArtifact, JobBusy, LeaseLost
from tasks.exchange.store import ArtifactRef
from tasks.jobs.journal import Journal, artifact_of, fingerprint, held
from tasks.messages.orders import StartingPoint

OPENING = {"config": {"seed": 7}, "starting_points": {"ash": {"job_id": "old-1", "round": 12}}}


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


def manifest(round_: int, *accepted: str) -> dict[str, object]:
    return {
        "round": round_,
        "accepted": list(accepted),
        "model_path": f"m/{round_}",
        "model_sha256": "f" * 64,
        "model_bytes": 10,
    }


def opened(jobs: Path, *manifests: dict[str, object], key: str = "k" * 64) -> Journal:
    """Return a job's journal with these rounds, already released."""
    with held(jobs, "films", key, OPENING) as journal:
        for each in manifests:
            journal.commit(each)
    return Journal(journal.folder)


def test_a_new_job_is_named_after_configuration_key_and_number(jobs):
    journal = opened(jobs, key="0123456789abcdef")
    assert journal.job_id == "films-01234567-1"
    assert journal.opening == OPENING
    assert (journal.committed(), journal.result(), journal.outcomes()) == ([], None, [])


def test_a_round_is_committed_once_and_by_one_process(jobs):
    journal = opened(jobs, manifest(0))
    with pytest.raises(JobBusy, match="Round 0 of job films-kkkkkkkk-1 was committed by another") as caught:
        journal.commit(manifest(0, "birch"))
    assert caught.value.job_id == journal.job_id
    assert journal.committed() == [manifest(0)]


def test_rounds_are_read_back_in_order(jobs):
    rounds = [manifest(round_) for round_ in range(12)]
    assert opened(jobs, *rounds).committed() == rounds


def test_a_missing_manifest_between_others_is_noticed(jobs):
    journal = opened(jobs, *(manifest(round_) for round_ in range(4)))
    (journal.folder / "rounds" / "000002.json").unlink()
    with pytest.raises(CorruptArtifact, match=r"has 000003\.json but no manifest of round 2"):
        journal.committed()


@pytest.mark.parametrize("damage", [b"", b'{"round": 0', b"\xff\xfe", b"null and more"])
@pytest.mark.parametrize("name", ["job.json", "result.json", "rounds/000000.json", "tracked/000000.json"])
def test_a_damaged_record_is_refused_with_its_name(jobs, name, damage):
    journal = opened(jobs, manifest(0))
    journal.conclude({"status": "completed"})
    journal.note_tracked(0, {})
    readers = {
        "job.json": lambda: journal.opening,
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
    first = opened(jobs, manifest(0))
    assert opened(jobs) == first
    first.conclude({"status": "stopped"})
    assert opened(jobs, manifest(1)) == first
    first.conclude({"status": "completed"})
    second = opened(jobs)
    assert second.job_id == "films-kkkkkkkk-2"
    assert (second.committed(), second.result()) == ([], None)
    assert first.result() == {"status": "completed"}
    assert opened(jobs) == second


def test_jobs_of_other_keys_do_not_mix(jobs):
    one, other = opened(jobs, manifest(0)), opened(jobs, key="other-key")
    assert (one.job_id, other.job_id) == ("films-kkkkkkkk-1", "films-other-ke-1")
    assert other.committed() == []


def test_numbers_are_sorted_as_numbers_and_continue_after_deleted_jobs(jobs):
    for number in range(1, 12):
        journal = opened(jobs)
        assert journal.job_id == f"films-kkkkkkkk-{number}"
        journal.conclude({"status": "completed"})
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
            pytest.raises(JobBusy, match="is being worked on") as caught,
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
        f"with held(Path({str(jobs)!r}), 'films', {'k' * 64!r}, {{}}) as journal:\n"
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
        journal.commit(manifest(0))
        # As the file of a later holder, which this process could not have noticed while it was paused.
        (journal.folder / "lease" / f"{journal.token + 1:06d}.lock").touch()
        for write in (
            lambda: journal.commit(manifest(1)),
            lambda: journal.note_tracked(0, {}),
            lambda: journal.add_outcome("ash", "interactions", "{}"),
            lambda: journal.conclude({"status": "finished"}),
        ):
            with pytest.raises(LeaseLost, match="was taken over"):
                write()
    assert Journal(journal.folder).committed() == [manifest(0)]
    assert (journal.tracked(0), journal.outcomes(), journal.result()) == (None, [], None)


def test_a_job_is_released_when_its_work_fails(jobs):
    with pytest.raises(RuntimeError), held(jobs, "films", "k" * 64, OPENING):
        raise RuntimeError("no power")
    assert opened(jobs).job_id == "films-kkkkkkkk-1"


def test_a_client_starts_from_the_last_round_that_accepted_it(jobs):
    journal = opened(jobs, manifest(0), manifest(1, "ash", "birch"), manifest(2, "birch"))
    rounds, own = journal.committed(), journal.job_id
    assert journal.starting_point("birch", rounds) == StartingPoint(own, 2)
    assert journal.starting_point("birch", rounds[:2]) == StartingPoint(own, 1)
    assert journal.starting_point("ash", rounds) == StartingPoint(own, 1)
    # Before its first round ash continues the previous job. Cedar never trained.
    assert journal.starting_point("ash", rounds[:1]) == StartingPoint("old-1", 12, exact=False)
    assert journal.starting_point("cedar", rounds) == StartingPoint(None, 0)


def test_what_follows_a_commit_is_recorded_beside_it(jobs):
    journal = opened(jobs, manifest(0))
    assert journal.tracked(0) is None
    journal.note_tracked(0, {"version": 3})
    journal.note_tracked(0, {"version": 4})
    assert journal.tracked(0) == {"version": 4}
    for subject in ("birch", "ash"):
        journal.add_outcome(subject, "interactions", f'"{subject}"')
    assert journal.outcomes() == ['"ash"', '"birch"']


def test_a_manifest_names_its_model():
    assert artifact_of(manifest(3)) == ArtifactRef("m/3", "f" * 64, 10)


def test_fingerprints_depend_on_values_and_not_on_their_order():
    assert fingerprint({"a": 1, "b": 2}, "x") == fingerprint({"b": 2, "a": 1}, "x")
    others = [({"a": 1, "b": 3}, "x"), ({"a": 1, "b": 2}, "y"), ({"a": 1, "b": 2}, "x", None)]
    assert fingerprint({"a": 1, "b": 2}, "x") not in {fingerprint(*other) for other in others}


def test_late_updates_are_read_back_by_round_and_client(jobs):
    records = [
        {"round": round_, "client_id": client_id, "stage": "late"}
        for round_, client_id in ((2, "ash"), (2, "cedar"), (11, "ash"))
    ]
    journal = opened(jobs, manifest(0))
    assert journal.late() == []
    for record in reversed(records):
        journal.note_late(record)
    assert journal.late() == records
    # They are stored beside the rounds, which stay as they were committed.
    assert journal.committed() == [manifest(0)]
