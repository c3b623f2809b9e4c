"""Runs `fedrec train` of a checkout as a user would, and measures it from outside.

It uses only the commands `fedrec data partition` and `fedrec train`, and of the job's folder only the records
of its rounds and its result. So it measures earlier revisions too.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import yaml

from models.errors import FedrecError
from tasks.bench.overhead.cases import DIMS, Case, Tables
from tasks.bench.overhead.processes import cpu_of_children, resident_bytes, tree_of
from tasks.datasets.client_assignment import ByChance, ByColumn, ByUser

SEED = 1
_LOOK_S = 0.2
_END_S = 10.0
_FOREIGN = ("FEDREC_", "MLFLOW_", "PREFECT_")
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Checkout:
    """A folder with fedrec's packages, which the Python of this process runs.

    Attributes:
        root: the folder.
        name: for messages, such as "fedrec" or a revision.
    """

    root: Path
    name: str

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `fedrec` with these arguments."""
        return [sys.executable, "-m", "flows", *arguments]

    def environ(self, home: Path) -> dict[str, str]:
        """Return an environment with `home`, this checkout's packages, and nobody's servers."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return own | {"FEDREC_HOME": str(home), "PYTHONPATH": str(self.root)}


@dataclass(frozen=True)
class JobRun:
    """A measured `fedrec train`.

    Attributes:
        job_s: wall seconds of the command.
        cpu_s: processor seconds of its processes, which other work on the machine hardly changes.
        commits_s: seconds from its start to the commit of each round, from round 0 on. Round 0 is the initial
            model: its commit ends the start-up.
        peak_rss_mb: largest resident memory of the command's processes together, in 10^6 bytes.
        model_sha256: digest of the final model.
        timings: the job's own breakdown of its wall time.
    """

    job_s: float
    cpu_s: float
    commits_s: tuple[float, ...]
    peak_rss_mb: float
    model_sha256: str
    timings: Mapping[str, float]


def run_train(
    checkout: Checkout,
    case: Case,
    tables: Tables,
    folder: Path,
    timeout_s: float,
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> JobRun:
    """Partition the case's data and train it with `checkout` in a fresh home below `folder`.

    Args:
        checkout: the code that is measured.
        case: the federation.
        tables: its files.
        folder: an empty folder.
        timeout_s: a longer training is ended.
        changes: further sections of the job's configuration.

    Raises:
        FedrecError: a command failed or was ended.
    """
    home, partition = folder / "home", folder / "partition"
    home.mkdir(parents=True)
    environ = checkout.environ(home)
    _run(checkout.command("data", "partition", *_options(case, tables, partition)), checkout, environ)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(_config(case, partition, timeout_s) | dict(changes)))
    command = checkout.command("train", "--config", str(config), "--json")
    began, cpu_began = time.time(), cpu_of_children()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=checkout.root, env=environ, stdout=out, stderr=err
        )
        peak = _watched(process, timeout_s)
    ended = time.time()
    if process.returncode:
        raise FedrecError(_failure(checkout, process, ended - began, folder / "err"))
    return job_run(home, began, ended, cpu_of_children() - cpu_began, peak / _MEGABYTE)


def job_run(home: Path, began: float, ended: float, cpu_s: float, peak_rss_mb: float) -> JobRun:
    """Return the measurements of the only job of a home, whose command ran between these times.

    Args:
        home: a home in which one job was trained.
        began, ended: seconds since 1970.
        cpu_s, peak_rss_mb: as in `JobRun`.

    Raises:
        FedrecError: the home does not have exactly one finished job.
    """
    results = list((home / "jobs").glob("*/result.json"))
    if len(results) != 1:
        raise FedrecError(f"{home} has {len(results)} finished jobs instead of one.")
    rounds = [_json(path) for path in sorted((results[0].parent / "rounds").glob("[0-9]*.json"))]
    commits = [datetime.fromisoformat(record["committed_at"]).timestamp() - began for record in rounds]
    timings = {name: value for name, value in _json(results[0])["timings"].items() if value is not None}
    return JobRun(ended - began, cpu_s, tuple(commits), peak_rss_mb, rounds[-1]["model_sha256"], timings)


def _options(case: Case, tables: Tables, out: Path) -> list[str]:
    options = ["--interactions", str(tables.interactions), "--items", str(tables.items), "--out", str(out)]
    match case.split:
        case ByUser():
            return [*options, "--by-user"]
        case ByChance(clients, seed):
            return [*options, "--random", str(clients), "--seed", str(seed)]
        case ByColumn(column):
            return [*options, "--by", column, *(("--users", str(tables.users)) if tables.users else ())]


def _config(case: Case, partition: Path, timeout_s: float) -> dict[str, Any]:
    """Return a configuration that every revision reads. Like the bare loop, the job has no baselines."""
    return {
        "name": "overhead",
        "model_name": "overhead",
        "seed": SEED,
        "data": {"dir": str(partition)},
        "train": {"dims": DIMS},
        "federation": {"rounds": case.rounds, "deadline_s": timeout_s},
        "evaluation": {"silo_only": False, "pooling_allowed": False},
    }


def _run(command: Sequence[str], checkout: Checkout, environ: Mapping[str, str]) -> None:
    done = subprocess.run(  # noqa: S603
        command, cwd=checkout.root, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise FedrecError(f"{' '.join(command[1:])} of {checkout.name} failed: {done.stderr[-1000:].strip()}")


def _watched(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """Wait for the command, or end it after `timeout_s`. Return the peak of its processes' resident bytes."""
    peak, deadline = 0, time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            peak = max(peak, sum(resident_bytes(each) for each in tree_of(process.pid)))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_S)
                return peak
        return peak
    finally:
        # After the timeout or an interruption.
        if process.poll() is None:
            killed = tree_of(process.pid)
            for each in killed:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait()
            psutil.wait_procs(killed, _END_S)


def _failure(checkout: Checkout, process: subprocess.Popen[bytes], seconds: float, err: Path) -> str:
    end = err.read_text(errors="replace")[-1000:].strip()
    if process.returncode < 0:
        return f"fedrec train of {checkout.name} was ended after {seconds:.0f} s. Its last lines: {end}"
    return f"fedrec train of {checkout.name} failed with exit code {process.returncode}: {end}"


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_bytes())
    return value
