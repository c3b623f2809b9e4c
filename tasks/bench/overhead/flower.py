"""Flower in a temporary environment of its own, and rounds of its simulation there."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from models.errors import FedrecError, SourceUnavailable
from tasks.bench.overhead.cases import DIMS

_VERSION = "1.42.0"
PACKAGE = f"flwr=={_VERSION}"
WITH_SIMULATION = f"flwr[simulation]=={_VERSION}"
_QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True)
class FlowerCase:
    """A simulation that is measured.

    Attributes:
        clients, rounds: their numbers.
        items: rows of the array that travels; it has `DIMS` columns, and a bias for each row.
    """

    clients: int
    rounds: int
    items: int

    @property
    def name(self) -> str:
        """Return a name for messages and files."""
        return f"flower-{self.clients}"


# MovieLens-100K has 1682 items.
FULL = (FlowerCase(100, 5, 1682), FlowerCase(943, 3, 1682))
QUICK = (FlowerCase(60, 4, 500),)


@contextlib.contextmanager
def flower_python(scratch: Path, requirement: str, announce: Callable[[str], None]) -> Iterator[Path]:
    """Yield the Python of a temporary environment below `scratch` that has Flower.

    Args:
        scratch: a folder.
        requirement: `PACKAGE` or `WITH_SIMULATION`, which also has Ray.
        announce: told that Flower is installed.

    Raises:
        SourceUnavailable: Flower cannot be installed.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="flower-") as name:
        announce(f"Installing {requirement} into a temporary environment")
        python = Path(name) / "bin" / "python"
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
        for command in ([sys.executable, "-m", "venv", name], pip):
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                raise SourceUnavailable(
                    f"{requirement} cannot be installed: {(done.stderr or done.stdout)[-1000:].strip()}",
                    next_step="Check the connection to the package index, or leave out --flower.",
                )
        yield python


def run_with_flower(python: Path, script: Path, numbers: Sequence[int], timeout_s: float) -> Any:
    """Return the JSON that a script with Flower writes.

    Args:
        python: a Python that has Flower.
        script: gets the numbers as arguments, and the file to write as the last one.
        numbers: the arguments.
        timeout_s: a longer run is ended.

    Raises:
        FedrecError: the script failed or was ended.
    """
    # In the system's own temporary folder, because sockets below it need short paths.
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        out = Path(folder) / "out.json"
        environ = os.environ | _QUIET | {"FLWR_HOME": folder, "RAY_TMPDIR": folder}
        environ.pop("PYTHONPATH", None)
        try:
            done = subprocess.run(  # noqa: S603
                [str(python), str(script), *map(str, numbers), str(out)],
                env=environ,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise FedrecError(f"Flower ({script.name}) was ended after {timeout_s:.0f} s.") from error
        if done.returncode or not out.is_file():
            raise FedrecError(f"Flower ({script.name}) failed: {done.stderr[-1000:].strip()}")
        return json.loads(out.read_text())


def flower_row(python: Path, case: FlowerCase, timeout_s: float) -> dict[str, Any]:
    """Return a simulation's median round, and its first one, which also starts Ray's processes.

    Args:
        python: a Python that has Flower with its simulation.
        case: what is simulated.
        timeout_s: a longer simulation is ended.

    Raises:
        FedrecError: the simulation failed or was ended.
    """
    script = Path(__file__).with_name("flower_rounds.py")
    return row_of_seconds(
        case, run_with_flower(python, script, (case.clients, case.rounds, case.items, DIMS), timeout_s)
    )


def row_of_seconds(case: FlowerCase, seconds: list[float]) -> dict[str, Any]:
    """Return the row of a simulation whose rounds took these seconds."""
    return {
        "clients": case.clients,
        "rounds": case.rounds,
        "items": case.items,
        "round_s": round(median(seconds), 4),
        "first_round_s": round(seconds[0], 4),
        "requirement": WITH_SIMULATION,
    }
