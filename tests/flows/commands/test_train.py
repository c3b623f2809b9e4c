"""`fedrec train` as a user calls it: one JSON object on stdout, one clear message on stderr, an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from flows.cli import cli
from flows.jobs.job import finished_before, opened
from flows.settings.training_config import load_config
from tasks.local.home import Home
from tests.worlds.records import job_result

GOOD = {
    "name": "typed",
    "model_name": "typed",
    "train": {"dims": 4},
    "federation": {"rounds": 1, "quorum_share": 1.0},
    "evaluation": {"negatives": 9, "silo_only": False},
}


WITHOUT_A_SERVER = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")


def fedrec(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("fedrec")
    return subprocess.run(
        [str(program), *arguments],
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
        env={**os.environ, "FEDREC_HOME": str(home), **environment},
        cwd=home.parent,
    )


def written(folder: Path, config: dict[str, Any] | str) -> str:
    path = folder / "job.yaml"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize(
    ("config", "overrides", "code", "message"),
    [
        (GOOD | {"data": {"dir": "nowhere"}}, [], 2, "nowhere is not a partition: the folder does not exist"),
        (GOOD | {"data": {"dir": "x"}}, ["--set", "train.dim=3"], 2, "Did you mean train.dims?"),
        ("name: [unclosed", [], 2, "cannot be read"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(
    home: Path, tmp_path: Path, config: Any, overrides: list[str], code: int, message: str
) -> None:
    done = fedrec(home, "train", "--config", written(tmp_path, config), *overrides, "--json")
    assert done.returncode == code
    lines = [line for line in done.stderr.splitlines() if line.startswith("fedrec: ")]
    assert len(lines) == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["error"]["message"] in done.stderr


def test_a_missing_file_is_one_message_and_exit_code_2(home: Path, tmp_path: Path) -> None:
    done = fedrec(home, "train", "--config", str(tmp_path / "absent.yaml"))
    assert done.returncode == 2
    assert "absent.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# Notes the thread of each module that a process imports.
NOTES_IMPORTS = """
import importlib.machinery, os, threading
run = importlib.machinery.SourceFileLoader.exec_module
def noted(loader, module):
    with open(os.environ["NOTED_IMPORTS"], "a") as notes:
        print(os.getpid(), threading.current_thread().name, module.__name__, file=notes)
    return run(loader, module)
importlib.machinery.SourceFileLoader.exec_module = noted
"""


def test_a_missed_quorum_is_exit_code_3(
    home: Path, tmp_path: Path, partition_dir: Path, prefect_server: None
) -> None:
    """The result is printed all the same, and without a stack trace of the clients that were left out.

    Once the sending thread begins to import MLflow, it shares no package that it imports with other threads:
    either could get half of the package.
    """
    from prefect.settings import PREFECT_API_URL

    (partition_dir / "clients" / "birch" / "interactions.parquet").unlink()
    path = written(tmp_path, GOOD | {"data": {"dir": str(partition_dir)}})
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOTES_IMPORTS)
    done = fedrec(
        home,
        *("train", "--config", path, "--json"),
        PREFECT_API_URL=str(PREFECT_API_URL.value()),
        MLFLOW_TRACKING_URI="",
        PYTHONPATH=str(tmp_path / "site"),
        NOTED_IMPORTS=str(tmp_path / "imports"),
    )
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout)
    assert result["status"] == "stopped"
    assert result["rounds"] == []
    assert "birch" in result["stop_reason"]
    assert result["stop_reason"] in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    noted = [line.split() for line in (tmp_path / "imports").read_text().splitlines()]
    (begun,) = (at for at, (_, _, module) in enumerate(noted) if module == "mlflow")
    process, sender, _ = noted[begun]
    packages: dict[bool, set[str]] = {True: set(), False: set()}
    for each, thread, module in noted[begun:]:
        if each == process:
            packages[thread == sender].add(module.partition(".")[0])
    assert "sqlalchemy" in packages[True]
    assert not packages[True] & packages[False]


def test_a_finished_configuration_is_not_trained_again(
    mlflow_home: Home, tmp_path: Path, partition_dir: Path
) -> None:
    """The finished job is one whose journal has the key of this configuration."""
    path = written(tmp_path, GOOD | {"data": {"dir": str(partition_dir)}})
    with opened(load_config(Path(path))) as job:
        job.journal.conclude(job_result(job_id=job.journal.job_id))
    done = CliRunner().invoke(cli, ["train", "--config", path, "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["job_id"] == job.journal.job_id
    assert "nothing was trained" in " ".join(done.stderr.split())
    assert [each.name for each in mlflow_home.jobs.glob("typed-*")] == [job.journal.job_id]
    assert finished_before(load_config(Path(path), ["seed=2"])) is None


def test_a_ctrl_c_ends_in_one_line_and_the_same_command_continues(
    home: Path, tmp_path: Path, partition_dir: Path
) -> None:
    """As in a terminal, the interrupt reaches the command's own Prefect server too."""
    data = {"data": {"dir": str(partition_dir)}, "federation": {"rounds": 500, "quorum_share": 1.0}}
    kept = {name: value for name, value in os.environ.items() if name not in WITHOUT_A_SERVER}
    command = subprocess.Popen(
        [str(Path(sys.executable).with_name("fedrec")), "train", "--config", written(tmp_path, GOOD | data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "FEDREC_HOME": str(home)},
        start_new_session=True,
    )
    assert command.stderr is not None
    assert any(line.startswith("Round 1/500") for line in command.stderr)
    os.killpg(command.pid, signal.SIGINT)
    stdout, stderr = command.communicate(timeout=120)

    *further, last = stderr.splitlines()
    assert all(line.startswith("Round ") for line in further), stderr
    # A line that is interrupted while it is written can be there twice.
    finished = max([1, *(int(line.removeprefix("Round ").partition("/")[0]) for line in further)])
    assert last == f"fedrec: interrupted. The same command continues after round {finished}.", stderr
    assert (command.returncode, stdout) == (130, "")
    assert list((home / "prefect" / "servers").glob("*.log")) == []
