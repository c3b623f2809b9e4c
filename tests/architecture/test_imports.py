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
    ("recommend", "--item", "50", "-k", "1"): ORCHESTRATION | OTHERS | {"scipy"},
    ("env",): ORCHESTRATION | OTHERS | TABLES | {"numpy"},
}


def imported_by(*arguments: str) -> tuple[str, set[str]]:
    """Return what a command prints, and the top-level names of all that it imports."""
    found = subprocess.run(
        [sys.executable, "-X", "importtime", str(FEDREC), *arguments],
        env=os.environ,
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
