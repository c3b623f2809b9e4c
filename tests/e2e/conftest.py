"""A coordinator and three silos, each under its own Unix account, which share Prefect and the exchange."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition
from tests.conftest import small_tables
from tests.e2e.federation import (
    ACCOUNTS,
    CHECKOUT,
    HUB,
    SILOS,
    Stack,
    answers,
    as_account,
    own,
    python_variables,
)
from tests.faults.real_silos import deadline_after
from tests.servers.free_port import free_port
from tests.servers.postgres import PostgresServer
from tests.waiting import until


@pytest.fixture(scope="session")
def accounts() -> Iterator[None]:
    """Make sure of four Unix accounts without a login. Accounts that were created here are removed."""
    if os.geteuid() != 0:
        pytest.skip("Only root can start silos under other accounts; run make e2e as root.")
    if shutil.which("useradd") is None:
        pytest.skip("useradd is missing, so that silos can have no accounts.")
    made = []
    for account in ACCOUNTS.values():
        try:
            pwd.getpwnam(account)
        except KeyError:
            subprocess.run(
                ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", account],
                check=True,
            )
            made.append(account)
    yield
    for account in made:
        subprocess.run(["userdel", account], check=True)


@pytest.fixture(scope="session")
def python(folders: Path) -> str:
    """Return an interpreter that the accounts can run and that imports this checkout and its libraries."""
    told = []
    for find in (lambda: Path(sys.executable), lambda: _copied_interpreter(folders / "python")):
        candidate = find()
        try:
            done = subprocess.run(
                [candidate, "-c", "import prefect.server.api.server, lightfm, cryptography, flows.cli"],
                **as_account(HUB),
                cwd=folders,
                env={**python_variables(folders), "HOME": str(folders / HUB)},
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            told.append(f"{candidate}: {error}")
            continue
        if done.returncode == 0:
            return str(candidate)
        told.append(f"{candidate}: {done.stderr.strip()[-300:]}")
    pytest.skip("No interpreter serves other accounts: " + "; ".join(told))


def _copied_interpreter(folder: Path) -> Path:
    """Copy this interpreter and its standard library, because accounts cannot enter their folder."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    unwanted = shutil.ignore_patterns("site-packages", "test", "__pycache__", "*.a")
    shutil.copytree(sysconfig.get_path("stdlib"), folder / "lib" / version, ignore=unwanted)
    (folder / "bin").mkdir()
    copy = folder / "bin" / version
    shutil.copy(Path(sys.executable).resolve(), copy)
    for library in (Path(sys.base_prefix) / "lib").glob("libpython*.so*"):
        shutil.copy(library, folder / "lib")
    return copy


@pytest.fixture(scope="session")
def folders(accounts: None) -> Iterator[Path]:
    """Return the parties' folders, each closed to the others, and an exchange with a part for each silo."""
    # Not below pytest's own folder, because no other account may enter that one.
    root = Path(tempfile.mkdtemp(prefix="fedrec-e2e-"))
    try:
        root.chmod(0o755)
        tables = small_tables(root / "tables")
        (root / "tables").chmod(0o700)
        partition = root / "tables" / "partition"
        make_partition(
            tables["interactions"], partition, ByColumn("town"), items=tables["items"], users=tables["users"]
        )
        for party in ACCOUNTS:
            (root / party / "home").mkdir(parents=True)
        shutil.copy(tables["items"], root / HUB / "items.csv")
        for silo in SILOS:
            (root / silo / "data").mkdir()
            (root / "exchange" / "silos" / silo).mkdir(parents=True)
            rows = pd.read_parquet(partition / "clients" / silo / "interactions.parquet")
            rows.to_csv(root / silo / "data" / "sales.csv", index=False)
            own(root / "exchange" / "silos" / silo, silo, 0o755)
        for party in ACCOUNTS:
            own(root / party, party, 0o700)
        own(root / "exchange", HUB, 0o755, deep=False)
        yield root
    finally:
        if not os.environ.get("FEDREC_E2E_KEEP"):
            shutil.rmtree(root)


@pytest.fixture(scope="session")
def stack(folders: Path, python: str, postgres_server: PostgresServer) -> Iterator[Stack]:
    """Run Prefect's server and a worker of the coordinator and of each silo, all enrolled and trusted."""
    stack = Stack(folders, python, free_port(), postgres_server, postgres_server.create_database())
    try:
        stack.start(
            "server",
            HUB,
            *("server", "start", "--host", "127.0.0.1", "--port", str(stack.port)),
            module="prefect",
        )
        until(lambda: answers(f"{stack.api_url}/health"), 120, what=f"the start of {stack.root}/server.log")
        for silo in SILOS:
            _enrol(stack, silo)
        stack.deploy("manual", stack.config("manual"))
        began = time.monotonic()
        for silo in SILOS:
            stack.serve(silo)
        until(lambda: all(map(stack.polls, SILOS)), what="the start of the silos' workers")
        stack.deadline_s = deadline_after(time.monotonic() - began)
        stack.start("worker-hub", HUB, "worker", "start", "--pool", "fedrec", module="prefect")
        yield stack
    finally:
        for name in reversed(list(stack.running)):
            stack.stop(name)


def _enrol(stack: Stack, silo: str) -> None:
    file = stack.home(silo).root / "silo.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "name": silo,
                "prefect_api_url": stack.api_url,
                "exchange": stack.exchange.as_uri(),
                "source": {"folder": str(stack.root / silo / "data")},
            }
        )
    )
    own(file, silo, 0o600)
    key = stack.json_of(silo, "silo", "enrol", "--name", silo)["public_key"]
    # Carried by hand from the silo to the coordinator, because neither can read the other's folder.
    pem = stack.root / f"{silo}.pem"
    pem.write_text(key)
    stack.json_of(HUB, "trust", silo, str(pem))


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, folders: Path) -> Iterator[dict[str, Any]]:
    """Return the result of the same job run with threads of one process, which reads all data."""
    home = tmp_path_factory.mktemp("local")
    config = home / "job.yaml"
    raw = {
        "name": "local",
        "model_name": "local",
        "train": {"dims": 4},
        "federation": {"rounds": 2},
        "evaluation": {"every": 2, "negatives": 9},
        "data": {"dir": str(folders / "tables" / "partition")},
    }
    config.write_text(yaml.safe_dump(raw))
    done = subprocess.run(
        [sys.executable, "-m", "flows", "train", "--config", str(config), "--json"],
        env={**os.environ, "FEDREC_HOME": str(home / "home")},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)
