"""The installed packages are fedrec's alone, start fast, and work with the locked libraries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from flows.cli import COMMANDS
from tasks.local.environment import settings
from tasks.local.home import Home

FEDREC = Path(sys.executable).parent / "fedrec"
ORCHESTRATION = {"prefect", "mlflow", "great_expectations"}
HEAVY = ORCHESTRATION | {
    "numpy",
    "pandas",
    "scipy",
    "lightfm",
    "pyarrow",
    "matplotlib",
    "fastapi",
    "pydantic",
}


@pytest.mark.parametrize("package", ["models", "data_contracts", "tasks", "flows", "serving"])
def test_a_package_s_name_belongs_to_fedrec_alone(package):
    # An editable install lists a package once for each file that names it.
    assert set(packages_distributions()[package]) == {"fedrec"}


def imported_by(*arguments: str) -> tuple[str, set[str]]:
    """Return what the command prints, and the top-level names of all that it imports."""
    found = subprocess.run(
        [sys.executable, "-X", "importtime", str(FEDREC), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return found.stdout, set(re.findall(r"^import time:.*\|\s+([\w]+)", found.stderr, re.MULTILINE))


def test_help_names_every_command_and_imports_nothing_heavy():
    text, imported = imported_by("--help")
    assert all(re.search(rf"^  {command}\s", text, re.MULTILINE) for command in COMMANDS)
    assert {"click", "flows", "models"} <= imported
    assert not HEAVY & imported


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_starts_no_orchestration(command):
    text, imported = imported_by(command, "--help")
    assert text.startswith(f"Usage: fedrec {command}")
    assert not ORCHESTRATION & imported


def test_prefect_s_server_can_be_imported(home):
    # Prefect 3.8 could not be imported with later versions of FastAPI than the one locked.
    code = "from prefect.server.api.server import create_app; assert callable(create_app)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | settings(Home(home)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
