"""Messages are sent beside the thread that puts them, in order, and that thread waits when too many wait."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from models.errors import LeaseLost
from tasks.jobs.journal import held_alone
from tasks.jobs.outbox import outbox_of
from tasks.local.home import Home
from tasks.messages.outbox_messages import OutboxMessage
from tasks.tracking.background_sender import BackgroundSender
from tasks.tracking.outbox_sender import OutboxSender
from tests.worlds.waiting_jobs import ITEMS, Job, job_with_waiting_messages, refusing


@pytest.fixture
def job(mlflow_home: Home) -> Job:
    """Return a job whose outbox is empty."""
    found = job_with_waiting_messages(mlflow_home, "films", "movies")
    shutil.rmtree(outbox_of(found.journal).folder)
    (found.journal.folder / "result.json").unlink()
    return found


@contextmanager
def sending(job: Job, most_waiting: int = 8) -> Iterator[tuple[OutboxSender, BackgroundSender]]:
    items = job.home.root / "items.parquet"
    ITEMS.to_parquet(items)
    with held_alone(job.journal) as journal:
        sender = OutboxSender(job.home, journal)
        sender.open(job.journal.opening.config, items)
        with BackgroundSender(sender, most_waiting) as background:
            yield sender, background


class Gate:
    """Holds MLflow's call that registers a version until it is opened."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.reached, self._opened = threading.Event(), threading.Event()
        original = MlflowClient.create_model_version

        def wait(*args: Any, **kwargs: Any) -> Any:
            self.reached.set()
            assert self._opened.wait(60)
            return original(*args, **kwargs)

        patch.setattr(MlflowClient, "create_model_version", wait)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    found = Gate(monkeypatch)
    yield found
    found.open()


def in_thread(call: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def rounds_of(job: Job) -> list[OutboxMessage]:
    return [job.messages[3], job.messages[4]]


def test_a_message_is_sent_while_the_job_goes_on(job: Job, gate: Gate) -> None:
    first, second = rounds_of(job)
    with sending(job) as (sender, background):
        background.put(first)
        assert gate.reached.wait(30)
        background.put(second)
        background.keep_pace()
        assert sender.outbox.count() == 2
        gate.open()
        background.drain()
        assert (sender.outbox.count(), sender.silence, sender.refused) == (0, None, [])
        assert job.rounds() == {1: 1, 2: 2}
        found = [job.journal.tracked(round_) for round_ in (1, 2)]
        assert [each.version for each in found if each] == [1, 2]
        # Its time stands beside the round's own, which was 1 s.
        assert [each.seconds["total"] for each in found if each] == [1.0, 1.0]
        assert sum(each.seconds["tracking_beside"] for each in found if each) == pytest.approx(sender.seconds)
        assert sender.seconds > 0


def test_the_job_waits_when_too_many_messages_wait(job: Job, gate: Gate) -> None:
    first, second = rounds_of(job)
    with sending(job, most_waiting=1) as (sender, background):
        background.put(first)
        background.put(second)
        assert gate.reached.wait(30)
        waiting = in_thread(background.keep_pace)
        waiting.join(0.3)
        assert waiting.is_alive()
        gate.open()
        waiting.join(30)
        assert not waiting.is_alive()
        assert sender.outbox.count() <= 1


def test_the_job_does_not_wait_for_an_mlflow_that_is_away(job: Job) -> None:
    away = refusing("log_batch", ConnectionError("away"))
    with away, sending(job, most_waiting=0) as (sender, background):
        for each in rounds_of(job):
            background.put(each)
            background.keep_pace()
        background.drain()
        assert sender.silence == "away"
        assert sender.outbox.count() == 3
    assert (job.waiting(), job.rounds()) == ([0, 1, 2], {})


def test_what_waits_at_the_end_is_sent(job: Job, gate: Gate) -> None:
    with pytest.raises(KeyboardInterrupt), sending(job) as (_, background):
        for each in rounds_of(job):
            background.put(each)
        assert gate.reached.wait(30)
        gate.open()
        raise KeyboardInterrupt
    assert (job.waiting(), job.rounds()) == ([], {1: 1, 2: 2})


def test_a_full_disk_ends_the_job_and_leaves_the_messages(job: Job) -> None:
    first, second = rounds_of(job)
    with (
        refusing("create_model_version", OSError(28, "No space left on device")),
        pytest.raises(OSError, match="No space"),
        sending(job) as (sender, background),
    ):
        background.put(first)
        with pytest.raises(OSError, match="No space"):
            background.drain()
        with pytest.raises(OSError, match="No space"):
            background.keep_pace()
        with pytest.raises(OSError, match="No space"):
            background.put(second)
        assert sender.outbox.count() == 1
    # The second one was not stored, because the job had to end before.
    with sending(job):
        pass
    assert (job.waiting(), job.rounds()) == ([], {1: 1})


def test_a_lost_lease_sends_nothing_more(job: Job) -> None:
    first, _ = rounds_of(job)
    with pytest.raises(LeaseLost), sending(job) as (_, background):
        background.drain()
        lease = job.journal.folder / "lease"
        (newest,) = lease.glob("*.lock")
        (lease / f"{int(newest.stem) + 1:06d}.lock").touch()
        background.put(first)
    assert (job.waiting(), job.rounds()) == ([], {})


def test_messages_that_still_wait_are_on_the_disk_before_the_next_commit(
    job: Job, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    first, second = rounds_of(job)
    with sending(job) as (_, background):
        background.put(first)
        background.put(second)
        assert gate.reached.wait(30)
        names = [f"{number:06d}.json" for number in job.waiting()]
        monkeypatch.setattr(os, "fsync", note)
        background.make_durable()
        assert [each for each in synced if each in names] == names
        assert synced[-1] == "outbox"
        background.make_durable()
        assert synced.count(names[0]) == 1
        gate.open()


def test_the_note_about_a_round_is_found_while_it_moves_from_the_outbox_to_the_journal(
    job: Job, gate: Gate
) -> None:
    first, _ = rounds_of(job)
    with sending(job) as (sender, background):
        background.put(first)
        found: list[bool] = []
        reader = in_thread(
            lambda: found.extend(sender.note_of(1) is not None for _ in iter(sender.outbox.count, 0))
        )
        gate.open()
        background.drain()
        reader.join()
        assert found
        assert all(found)
