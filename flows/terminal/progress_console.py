"""A console for progress, which nobody needs to read."""

from __future__ import annotations

from typing import IO

from rich.console import Console


class ProgressConsole(Console):
    """Writes to standard error, and stays silent once nobody reads it any more.

    Rich's own console ends the process then, and with it a job of hours whose terminal was closed.

    Args:
        file: where to write; standard error by default.
    """

    def __init__(self, file: IO[str] | None = None) -> None:
        super().__init__(file=file, stderr=True)

    def on_broken_pipe(self) -> None:
        """Write nothing from now on."""
        self.quiet = True
