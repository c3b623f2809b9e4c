"""Progress that nobody reads any more ends no job."""

from __future__ import annotations

import contextlib
import os

from flows.terminal.progress_console import ProgressConsole


def test_a_closed_pipe_silences_the_console_and_raises_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    file = os.fdopen(write, "w", buffering=1)
    console = ProgressConsole(file)
    for line in ("Round 1", "Round 2"):
        console.print(line)
    assert console.quiet
    with contextlib.suppress(BrokenPipeError):
        file.close()


def test_what_is_read_is_written() -> None:
    read, write = os.pipe()
    with os.fdopen(read) as reader:
        with os.fdopen(write, "w", buffering=1) as file:
            ProgressConsole(file).print("Round 1")
        assert reader.read() == "Round 1\n"
