"""The process that does an agent's steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from tests.waiting import until

# An agent that is killed while its process works for a minute.
KILLED = """
import os, signal, time
from flows.silo.agent import _process

process = _process()
print(process.submit(os.getpid).result(), flush=True)
process.submit(time.sleep, 60)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_step_ends_with_the_agent_that_was_killed(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-c", KILLED], stdout=file, stderr=file, check=False, timeout=120
        )
    assert done.returncode == -9
    worker = int(output.read_text().split()[0])
    until(lambda: has_ended(worker), 30)


def has_ended(process: int) -> bool:
    try:
        # Its parent is gone too, so it may stay as a zombie.
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
