"""FEDREC_HOME on a small disk that fills up in the middle of a job."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.terminal.progress import Event, listening
from models.errors import DiskFull
from tasks.tracking import registry

DISK_BYTES = 24 * 1024 * 1024


@pytest.fixture
def home(home: Path) -> Iterator[Path]:
    """Return the test's home, on a tmpfs of its own."""
    home.mkdir(parents=True)
    size = f"size={DISK_BYTES}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "fedrec-test", str(home)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield home
    subprocess.run(["umount", "--lazy", str(home)], check=True)


def fill(folder: Path, room: int) -> Path:
    """Write a file beside fedrec's files that leaves `room` bytes on the disk. Return its path."""
    filler = folder / "somebody-else"
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * 65536)
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * 512)
    os.truncate(filler, max(0, filler.stat().st_size - room))
    return filler


def test_the_same_command_continues_once_there_is_space(federation: Any) -> None:
    """The disk is full at once or after a few more files, each time in a later round."""
    config = federation.config(federation={"rounds": 6})
    rooms = [0, 16_384, 49_152]
    failed = 0
    for room in rooms:
        filled: list[Path] = []

        def full(event: Event, room: int = room, filled: list[Path] = filled) -> None:
            if event.round and not filled:
                filled.append(fill(federation.home.root, room))

        with listening(full), pytest.raises(DiskFull) as caught:
            federation.run(config)
        assert str(federation.home.root) in str(caught.value)
        assert "Free some space there, then run the same command again" in str(caught.value)
        assert not [*federation.home.root.rglob("*.part")]
        failed += 1
        filled[0].unlink()
    result = federation.run(config)
    federation.check(config, result, lost={}, states={"FAILED": failed, "COMPLETED": 1})
    client = registry.client(federation.home)
    for each in result["rounds"]:
        version = registry.load_version(client, federation.name, each["version"])
        assert version.sha256 == each["model_sha256"]
