"""A command imports what it needs and nothing more: a library costs up to four seconds of processor time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.promotion.promote import record
from tests.worlds.decisions import decision

FEDREC = Path(sys.executable).parent / "fedrec"
ORCHESTRATION = {"prefect", "mlflow", "great_expectations"}
# What trains, draws, keeps or serves, and is no part of an answer.
OTHERS = {"lightfm", "matplotlib", "sqlalchemy", "alembic", "fastapi", "fsspec", "httpx", "requests"}
TABLES = {"pandas", "pyarrow", "scipy", "pydantic"}

# Command -> what it must not import.
FORBIDDEN = {
    ("audit",): ORCHESTRATION | OTHERS | TABLES,
    ("audit", "--verify"): ORCHESTRATION | OTHERS | TABLES,
    ("recommend", "--item", "50", "-k", "1"): ORCHESTRATION | OTHERS | {"pandas", "scipy"},
    # It writes by MLflow's client.
    ("promote", "--version", "2"): {"prefect", "great_expectations", "lightfm", "matplotlib"},
    ("status",): ORCHESTRATION | OTHERS | {"pandas", "scipy"},
    ("down",): ORCHESTRATION | OTHERS | TABLES | {"numpy"},
    ("env",): ORCHESTRATION | OTHERS | TABLES | {"numpy"},
}


def imported_by(*arguments: str) -> tuple[str, set[str]]:
    """Return what a command prints, and the top-level names of all that it imports."""
    found = subprocess.run(
        [sys.executable, "-X", "importtime", str(FEDREC), *arguments],
        env={name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return found.stdout, set(re.findall(r"^import time:.*\|\s+(\w+)", found.stderr, re.MULTILINE))


@pytest.fixture
def champion(world: Any, evaluated: Any) -> None:
    """Register two rounds and make the first one champion."""
    world.register(1, evaluated(0.3))
    world.register(2, evaluated(0.4))
    record(world.home, world.client, decision(1))


@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize("command", FORBIDDEN, ids=" ".join)
def test_a_command_imports_only_what_it_needs(command):
    text, imported = imported_by(*command)
    assert text
    assert {"click", "flows"} <= imported
    assert not FORBIDDEN[command] & imported


def test_a_training_job_reads_its_configuration_before_it_imports_libraries(tmp_path, partition_dir):
    """Then it starts Prefect's server, and imports the rest meanwhile."""
    path = tmp_path / "job.yaml"
    path.write_text(f"name: a\nmodel_name: a\ndata: {{dir: {partition_dir}}}\n")
    code = (
        "import sys; from pathlib import Path; from flows.settings.training_config import load_config; "
        "import flows.local, tasks.orchestration.server; from tasks.local.environment import apply; apply(); "
        f"load_config(Path({str(path)!r})); print(*{{each.partition('.')[0] for each in sys.modules}})"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    imported = set(found.stdout.split())
    assert "pydantic" in imported
    assert not (ORCHESTRATION | OTHERS | {"pandas", "scipy", "pyarrow"}) & imported
