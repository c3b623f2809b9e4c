"""A job's lease between real processes. A dead holder loses it at once, and a silent one after a time."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.errors import JobBusy, LeaseLost
from tasks.jobs.lease import left_behind, newest_token, take

LEASE_S = 1.0
# Takes the lease. For every line that it reads it prints whether it may write.
HOLDER = """
import sys
from pathlib import Path
from models.errors import LeaseLost
from tasks.jobs.lease import take
lease = take(Path(sys.argv[1]), float(sys.argv[2]))
print(lease.token, flush=True)
for line in sys.stdin:
    try:
        with lease.guarded():
            if line.startswith("stay"):
                print("inside", flush=True)
                sys.stdin.readline()
        print("written", flush=True)
    except LeaseLost as lost:
        print(lost, flush=True)
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return tmp_path / "films-1"


@contextmanager
def holder(job: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(job), str(LEASE_S)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline().strip().isdecimal()
        yield process
    finally:
        process.kill()
        process.wait(30)
        process.stdin.close()
        process.stdout.close()


def said(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin and process.stdout
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_tokens_grow_with_every_holder(job: Path) -> None:
    for token in (1, 2, 3):
        lease = take(job, LEASE_S)
        assert (lease.token, newest_token(job)) == (token, token)
        with lease.guarded(), lease.guarded():
            pass
        lease.release()
    assert [path.name for path in (job / "lease").iterdir()] == ["000003.lock"]


def test_a_holder_that_renews_keeps_the_lease_for_longer_than_its_time(job: Path) -> None:
    with holder(job) as process:
        give_up = time.monotonic() + 1.5 * LEASE_S
        while time.monotonic() < give_up:
            with pytest.raises(JobBusy, match="works on job films-1") as caught:
                take(job, LEASE_S)
            assert not isinstance(caught.value, LeaseLost)
        with left_behind(job) as is_left:
            assert not is_left
        assert said(process, "write") == "written"


def test_threads_of_the_holder_are_inside_together_and_keep_others_out_until_the_last_has_left(
    job: Path,
) -> None:
    lease = take(job, LEASE_S)
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def enter_and_leave() -> None:
        with lease.guarded():
            first_is_in.set()
            assert second_is_in.wait(30)

    first = threading.Thread(target=enter_and_leave)
    first.start()
    assert first_is_in.wait(30)
    with lease.guarded():  # would never begin if one thread kept the other out
        second_is_in.set()
        first.join(30)
        assert not first.is_alive()
        with left_behind(job) as is_left:
            assert not is_left
        lease.release()  # alive or not, no other process may take it yet
        with pytest.raises(JobBusy):
            take(job, LEASE_S)
    take(job, LEASE_S).release()


def test_a_dead_holder_loses_the_lease_at_once(job: Path) -> None:
    with holder(job) as process:
        process.kill()
        process.wait(30)
        with left_behind(job) as is_left:
            assert is_left
        # Without a wait: an hour would take far too long.
        lease = take(job, 3600)
        assert lease.token == 2
        lease.release()


def test_a_paused_holder_is_overtaken_and_writes_nothing_when_it_continues(job: Path) -> None:
    with holder(job) as process:
        process.send_signal(signal.SIGSTOP)
        # It is not dead, so its records stay as they are until another process takes over.
        with left_behind(job) as is_left:
            assert not is_left
        lease = take(job, LEASE_S)
        process.send_signal(signal.SIGCONT)
        assert lease.token == 2
        assert said(process, "write").startswith(
            "Job films-1 was taken over by another process, because this one gave no sign of life for 1 s."
        )
        with lease.guarded():
            pass
        # The renewals of the continued process do not count as the new holder's.
        with pytest.raises(JobBusy):
            take(job, LEASE_S)
        lease.release()
        take(job, LEASE_S).release()


def test_a_holder_is_not_overtaken_during_a_write(job: Path) -> None:
    with holder(job) as process:
        assert said(process, "stay") == "inside"
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(JobBusy):
            take(job, LEASE_S)
        process.send_signal(signal.SIGCONT)
        assert said(process, "go on") == "written"
        assert newest_token(job) == 1


def test_only_one_of_many_takes_over(job: Path) -> None:
    take(job, LEASE_S).release()
    command = [sys.executable, "-c", HOLDER, str(job), str(LEASE_S)]
    many = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for _ in range(4)
    ]
    try:
        lines = [process.stdout.readline().strip() for process in many if process.stdout]
        assert sorted(lines) == ["", "", "", "2"]
    finally:
        for process in many:
            process.kill()
            process.communicate(timeout=30)
